"""Recipes: every setting of a run as a frozen value, and the named ones with their receipts.

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
from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.networks import (
    AUGMENTED_BRANCH,
    AUXILIARY_BRANCH,
    MAIN_BRANCH,
    NETWORKS,
    NetworkSpec,
    network_spec,
)
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec
from efficientnet_advprop.recipes.recipe import Cadence, Receipt, Recipe, validate_network
from efficientnet_advprop.recipes.record import (
    compared_values,
    differences,
    digest,
    flatten,
    from_json,
    override,
    to_json,
)
from efficientnet_advprop.recipes.registry import EVALUATION_ATTACK, named_recipe
from efficientnet_advprop.recipes.released_weights import preprocessing_of_path
from efficientnet_advprop.recipes.run_options import InputOptions, RunOptions
from efficientnet_advprop.recipes.schemes import (
    AUGMENTED_VIEW,
    FAST_ADVPROP,
    IMAGES_VIEW,
    SCHEMES,
    Phase,
    SchemeSettings,
    Term,
    TermWeights,
    branches_of,
    published_weights,
    scheme_phases,
    views_of,
)
from efficientnet_advprop.recipes.study_spec import (
    BASELINE,
    BUDGET_SCHEME,
    STUDY_BENCHMARKS,
    StudySpec,
    Trial,
    equal_budget_row,
    plan,
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
    "CORRUPTED",
    "EVALUATION_ATTACK",
    "EXTRA",
    "EXTRA_CORRUPTIONS",
    "FAST_ADVPROP",
    "GROUPS",
    "IMAGENET_C_CORRUPTIONS",
    "IMAGES_VIEW",
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
    "InputOptions",
    "NetworkSpec",
    "OptimizerSpec",
    "Phase",
    "Receipt",
    "Recipe",
    "RecipeError",
    "RunOptions",
    "SchemeSettings",
    "StudySpec",
    "Term",
    "TermWeights",
    "Trial",
    "WeightsFacts",
    "WeightsRecord",
    "benchmark_of",
    "branches_of",
    "compared_values",
    "differences",
    "digest",
    "equal_budget_row",
    "flatten",
    "from_json",
    "named_recipe",
    "network_spec",
    "override",
    "plan",
    "preprocessing_of_path",
    "published_weights",
    "refuse_other_classes",
    "scheme_phases",
    "to_json",
    "validate_network",
    "views_of",
]
