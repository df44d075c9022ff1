"""Recipes: all settings of a run as frozen dataclasses, and the named recipes with their provenance.

Standard library only: a recipe can be read, changed and compared without TensorFlow.
"""

from efficientnet_advprop.recipes.attack_spec import (
    AttackSpec as AttackSpec,
    about_small_epsilon as about_small_epsilon,
)
from efficientnet_advprop.recipes.benchmark_spec import (
    ROBUSTNESS_RESIZES as ROBUSTNESS_RESIZES,
    SUCCESSES as SUCCESSES,
    BenchmarkSpec as BenchmarkSpec,
)
from efficientnet_advprop.recipes.benchmarks import (
    ATTACKED as ATTACKED,
    BENCHMARKS as BENCHMARKS,
    CORRUPTED as CORRUPTED,
    EXTRA as EXTRA,
    EXTRA_CORRUPTIONS as EXTRA_CORRUPTIONS,
    GROUPS as GROUPS,
    IMAGENET_C_CORRUPTIONS as IMAGENET_C_CORRUPTIONS,
    MADE_CORRUPTIONS as MADE_CORRUPTIONS,
    ONE as ONE,
    Benchmark as Benchmark,
    benchmark_of as benchmark_of,
)
from efficientnet_advprop.recipes.bounds import (
    COUNT as COUNT,
    FRACTION as FRACTION,
    SECONDS as SECONDS,
    SIZE_PX as SIZE_PX,
    Bounded as Bounded,
    Bounds as Bounds,
)
from efficientnet_advprop.recipes.data_spec import (
    WITHOUT_FOLDER as WITHOUT_FOLDER,
    DataFacts as DataFacts,
    DataSpec as DataSpec,
)
from efficientnet_advprop.recipes.errors import (
    RecipeError as RecipeError,
    first_line as first_line,
    names_instead as names_instead,
    one_line as one_line,
)
from efficientnet_advprop.recipes.families import (
    FAMILIES as FAMILIES,
    NETWORKS as NETWORKS,
    family_of as family_of,
    network_spec as network_spec,
)
from efficientnet_advprop.recipes.family import Family as Family
from efficientnet_advprop.recipes.networks import (
    AUGMENTED_BRANCH as AUGMENTED_BRANCH,
    AUXILIARY_BRANCH as AUXILIARY_BRANCH,
    KERAS_PREFIX as KERAS_PREFIX,
    MAIN_BRANCH as MAIN_BRANCH,
    NetworkSpec as NetworkSpec,
)
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec as OptimizerSpec
from efficientnet_advprop.recipes.plan_spec import PlanSpec as PlanSpec
from efficientnet_advprop.recipes.recipe import (
    Cadence as Cadence,
    Provenance as Provenance,
    Recipe as Recipe,
    validate_network as validate_network,
)
from efficientnet_advprop.recipes.record import (
    compared_values as compared_values,
    differences as differences,
    digest as digest,
    flatten as flatten,
    from_json as from_json,
    override as override,
    to_json as to_json,
)
from efficientnet_advprop.recipes.registry import (
    DATASETS as DATASETS,
    DEFAULT_MODEL as DEFAULT_MODEL,
    DEFAULT_SCHEME as DEFAULT_SCHEME,
    EVALUATION_ATTACK as EVALUATION_ATTACK,
    named_recipe as named_recipe,
    recipe_for as recipe_for,
)
from efficientnet_advprop.recipes.run_options import InputOptions as InputOptions, RunOptions as RunOptions
from efficientnet_advprop.recipes.schemes import (
    SCHEMES as SCHEMES,
    Scheme as Scheme,
    num_fast_adversarial as num_fast_adversarial,
    scheme_named as scheme_named,
)
from efficientnet_advprop.recipes.stored import (
    JsonObject as JsonObject,
    added as added,
    from_values as from_values,
    json_values as json_values,
)
from efficientnet_advprop.recipes.study_spec import (
    BASELINE as BASELINE,
    BUDGET_SCHEME as BUDGET_SCHEME,
    STUDY_BENCHMARKS as STUDY_BENCHMARKS,
    StudySpec as StudySpec,
    Trial as Trial,
    equal_budget_row as equal_budget_row,
    equal_budgets as equal_budgets,
    plan as plan,
    trials_in_words as trials_in_words,
)
from efficientnet_advprop.recipes.terms import (
    ATTACK_STEP as ATTACK_STEP,
    AUGMENTED_VIEW as AUGMENTED_VIEW,
    CLEAN as CLEAN,
    CROSS_ENTROPY as CROSS_ENTROPY,
    FORWARD_PASS as FORWARD_PASS,
    IMAGES_VIEW as IMAGES_VIEW,
    KL_FROM_CLEAN as KL_FROM_CLEAN,
    Phase as Phase,
    SchemeSettings as SchemeSettings,
    Term as Term,
    TermWeights as TermWeights,
)
from efficientnet_advprop.recipes.visualization_spec import (
    ATTACK as ATTACK,
    GENERATION as GENERATION,
    GRADIENTS as GRADIENTS,
    INPAINTING as INPAINTING,
    SYNTHESES as SYNTHESES,
    VISUALIZATIONS as VISUALIZATIONS,
    VisualizationSpec as VisualizationSpec,
    generation_attack as generation_attack,
    inpainting_attack as inpainting_attack,
    mask_side_px as mask_side_px,
    seed_grain_px as seed_grain_px,
)
from efficientnet_advprop.recipes.weights_record import (
    WeightsFacts as WeightsFacts,
    WeightsRecord as WeightsRecord,
    refuse_other_classes as refuse_other_classes,
)
