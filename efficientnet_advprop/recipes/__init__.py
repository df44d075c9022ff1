"""Recipes: all settings of a run as frozen dataclasses, and the named recipes with their provenance.

Standard library only: a recipe can be read, changed and compared without TensorFlow.
"""

from efficientnet_advprop.recipes.attack_spec import AttackSpec
from efficientnet_advprop.recipes.benchmark_spec import ROBUSTNESS_RESIZES, SUCCESSES, BenchmarkSpec
from efficientnet_advprop.recipes.benchmarks import (
    ATTACKED,
    BENCHMARKS,
    CORRUPTED,
    EXTRA,
    EXTRA_CORRUPTIONS,
    GROUPS,
    IMAGENET_C_CORRUPTIONS,
    MADE_CORRUPTIONS,
    ONE,
    Benchmark,
    benchmark_of,
)
from efficientnet_advprop.recipes.data_spec import DataFacts, DataSpec
from efficientnet_advprop.recipes.errors import RecipeError, first_line
from efficientnet_advprop.recipes.families import FAMILIES, NETWORKS, family_of, network_spec
from efficientnet_advprop.recipes.family import Family
from efficientnet_advprop.recipes.networks import (
    AUGMENTED_BRANCH,
    AUXILIARY_BRANCH,
    MAIN_BRANCH,
    NetworkSpec,
)
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec
from efficientnet_advprop.recipes.recipe import Cadence, Provenance, Recipe, validate_network
from efficientnet_advprop.recipes.record import (
    compared_values,
    differences,
    digest,
    flatten,
    from_json,
    override,
    to_json,
)
from efficientnet_advprop.recipes.registry import DEFAULT_MODEL, DEFAULT_SCHEME, EVALUATION_ATTACK, named_recipe
from efficientnet_advprop.recipes.released_weights import preprocessing_of_path
from efficientnet_advprop.recipes.run_options import InputOptions, RunOptions
from efficientnet_advprop.recipes.schemes import SCHEMES, Scheme, num_fast_adversarial, scheme_named
from efficientnet_advprop.recipes.stored import added
from efficientnet_advprop.recipes.study_spec import (
    BASELINE,
    BUDGET_SCHEME,
    STUDY_BENCHMARKS,
    StudySpec,
    Trial,
    equal_budget_row,
    plan,
)
from efficientnet_advprop.recipes.terms import (
    AUGMENTED_VIEW,
    CLEAN,
    CROSS_ENTROPY,
    IMAGES_VIEW,
    KL_FROM_CLEAN,
    Phase,
    SchemeSettings,
    Term,
    TermWeights,
)
from efficientnet_advprop.recipes.weights_record import WeightsFacts, WeightsRecord, refuse_other_classes

__all__ = [
    "ATTACKED",
    "AUGMENTED_BRANCH",
    "AUGMENTED_VIEW",
    "AUXILIARY_BRANCH",
    "BASELINE",
    "BENCHMARKS",
    "BUDGET_SCHEME",
    "CLEAN",
    "CORRUPTED",
    "CROSS_ENTROPY",
    "DEFAULT_MODEL",
    "DEFAULT_SCHEME",
    "EVALUATION_ATTACK",
    "EXTRA",
    "EXTRA_CORRUPTIONS",
    "FAMILIES",
    "GROUPS",
    "IMAGENET_C_CORRUPTIONS",
    "IMAGES_VIEW",
    "KL_FROM_CLEAN",
    "MADE_CORRUPTIONS",
    "MAIN_BRANCH",
    "NETWORKS",
    "ONE",
    "ROBUSTNESS_RESIZES",
    "SCHEMES",
    "STUDY_BENCHMARKS",
    "SUCCESSES",
    "AttackSpec",
    "Benchmark",
    "BenchmarkSpec",
    "Cadence",
    "DataFacts",
    "DataSpec",
    "Family",
    "InputOptions",
    "NetworkSpec",
    "OptimizerSpec",
    "Phase",
    "Provenance",
    "Recipe",
    "RecipeError",
    "RunOptions",
    "Scheme",
    "SchemeSettings",
    "StudySpec",
    "Term",
    "TermWeights",
    "Trial",
    "WeightsFacts",
    "WeightsRecord",
    "added",
    "benchmark_of",
    "compared_values",
    "differences",
    "digest",
    "equal_budget_row",
    "family_of",
    "first_line",
    "flatten",
    "from_json",
    "named_recipe",
    "network_spec",
    "num_fast_adversarial",
    "override",
    "plan",
    "preprocessing_of_path",
    "refuse_other_classes",
    "scheme_named",
    "to_json",
    "validate_network",
]
