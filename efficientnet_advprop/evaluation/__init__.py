"""Evaluation of networks: predictions, attacks, corruptions, benchmarks, results and comparisons."""

from efficientnet_advprop.evaluation.attack_curve import (
    AttackPoint as AttackPoint,
    attack_curves as attack_curves,
    masked_gradient_warnings as masked_gradient_warnings,
)
from efficientnet_advprop.evaluation.autoattack import STAGES as STAGES
from efficientnet_advprop.evaluation.comparison import (
    Comparison as Comparison,
    EvaluatedRun as EvaluatedRun,
    NetworkRow as NetworkRow,
    compare as compare,
)
from efficientnet_advprop.evaluation.corrupted import (
    corrupted_dataset as corrupted_dataset,
    kept_in_memory as kept_in_memory,
)
from efficientnet_advprop.evaluation.estimates import (
    SIGNIFICANCE as SIGNIFICANCE,
    Difference as Difference,
    Estimate as Estimate,
)
from efficientnet_advprop.evaluation.examples import (
    ATTACKED_IMAGES as ATTACKED_IMAGES,
    AdversarialExamples as AdversarialExamples,
    adversarial_examples as adversarial_examples,
)
from efficientnet_advprop.evaluation.imagenet_c import (
    CIFAR_STRENGTHS_BELOW_PX as CIFAR_STRENGTHS_BELOW_PX,
    CORRUPTIONS as CORRUPTIONS,
    CorruptionError as CorruptionError,
    CorruptionScore as CorruptionScore,
    chosen_of as chosen_of,
    incomplete_parts as incomplete_parts,
    score_of as score_of,
)
from efficientnet_advprop.evaluation.input_gradients import (
    loss_gradients as loss_gradients,
    require_gradients as require_gradients,
    share_in_squares as share_in_squares,
)
from efficientnet_advprop.evaluation.measurements import (
    BRANCH_GAP as BRANCH_GAP,
    Column as Column,
    in_words as in_words,
)
from efficientnet_advprop.evaluation.observations import (
    IMAGES as IMAGES,
    OBSERVATIONS_FOLDER as OBSERVATIONS_FOLDER,
    has_to_be_observed as has_to_be_observed,
    kinds_not_observed as kinds_not_observed,
    read_observations as read_observations,
    running_statistics as running_statistics,
    write_observation as write_observation,
)
from efficientnet_advprop.evaluation.part_keys import (
    CLEAN_IMAGES as CLEAN_IMAGES,
    SEVERITIES as SEVERITIES,
    corruption_key as corruption_key,
    series_of as series_of,
)
from efficientnet_advprop.evaluation.passes import (
    BenchmarkPass as BenchmarkPass,
    collector_for as collector_for,
    find_sets as find_sets,
    plan_passes as plan_passes,
)
from efficientnet_advprop.evaluation.predictions import (
    Batch as Batch,
    PredictionCollector as PredictionCollector,
    Predictions as Predictions,
    through_branches as through_branches,
)
from efficientnet_advprop.evaluation.published import published_results as published_results
from efficientnet_advprop.evaluation.results import (
    RESULTS_FILE as RESULTS_FILE,
    Evaluated as Evaluated,
    Part as Part,
    ResultsFile as ResultsFile,
    RunResults as RunResults,
    Training as Training,
    digest_over_seeds as digest_over_seeds,
    most_frequent_confusions as most_frequent_confusions,
)
from efficientnet_advprop.evaluation.synthesis import (
    OUTSIDE_WEIGHT as OUTSIDE_WEIGHT,
    SEED_VARIANCE as SEED_VARIANCE,
    gaussian_seeds as gaussian_seeds,
    masked_images as masked_images,
    synthesize as synthesize,
)
from efficientnet_advprop.evaluation.trials import (
    began_with_philox as began_with_philox,
    completed as completed,
    evaluated_trial as evaluated_trial,
    recorded_success as recorded_success,
)
from efficientnet_advprop.evaluation.unlabelled import (
    logits_of_batches as logits_of_batches,
    top_classes as top_classes,
)
from efficientnet_advprop.evaluation.worst_case import (
    strength as strength,
    under_attack as under_attack,
)
