"""How networks are evaluated: predictions, attacks, corruptions, benchmarks, results and comparisons."""

from efficientnet_advprop.evaluation.attack_curve import AttackPoint, attack_curves, masked_gradient_warnings
from efficientnet_advprop.evaluation.comparison import Comparison, EvaluatedRun, NetworkRow, compare
from efficientnet_advprop.evaluation.corrupted import corrupted_dataset, kept_in_memory
from efficientnet_advprop.evaluation.estimates import SIGNIFICANCE, Difference, Estimate
from efficientnet_advprop.evaluation.examples import adversarial_examples
from efficientnet_advprop.evaluation.imagenet_c import (
    CIFAR_STRENGTHS_BELOW_PX,
    SEVERITIES,
    CorruptionError,
    CorruptionScore,
    corruption_score,
    incomplete_parts,
    score_of,
)
from efficientnet_advprop.evaluation.measurements import BRANCH_GAP, Column, differences_in_words, in_words
from efficientnet_advprop.evaluation.observations import (
    IMAGES,
    has_to_be_observed,
    kinds_not_observed,
    loss_gradients,
    read_observations,
    running_statistics,
    write_observation,
)
from efficientnet_advprop.evaluation.part_keys import CLEAN_IMAGES, MEAN, corruption_key, series_of
from efficientnet_advprop.evaluation.passes import BenchmarkPass, collector_for, find_sets, plan_passes
from efficientnet_advprop.evaluation.predictions import Batch, PredictionCollector, Predictions, through_branches
from efficientnet_advprop.evaluation.published import Published, published_results
from efficientnet_advprop.evaluation.results import (
    RESULTS_FILE,
    Evaluated,
    Part,
    ResultsFile,
    RunResults,
    Training,
    digest_over_seeds,
    most_frequent_confusions,
)
from efficientnet_advprop.evaluation.trials import completed, evaluated_trial, recorded_success
from efficientnet_advprop.evaluation.unlabelled import logits_of_batches, top_classes
from efficientnet_advprop.evaluation.worst_case import (
    logits_after_one_step,
    logits_at_random_point,
    strength,
    under_attack,
    worst_logits,
)

__all__ = [
    "BRANCH_GAP",
    "CIFAR_STRENGTHS_BELOW_PX",
    "CLEAN_IMAGES",
    "IMAGES",
    "MEAN",
    "RESULTS_FILE",
    "SEVERITIES",
    "SIGNIFICANCE",
    "AttackPoint",
    "Batch",
    "BenchmarkPass",
    "Column",
    "Comparison",
    "CorruptionError",
    "CorruptionScore",
    "Difference",
    "Estimate",
    "Evaluated",
    "EvaluatedRun",
    "NetworkRow",
    "Part",
    "PredictionCollector",
    "Predictions",
    "Published",
    "ResultsFile",
    "RunResults",
    "Training",
    "adversarial_examples",
    "attack_curves",
    "collector_for",
    "compare",
    "completed",
    "corrupted_dataset",
    "corruption_key",
    "corruption_score",
    "differences_in_words",
    "digest_over_seeds",
    "evaluated_trial",
    "find_sets",
    "has_to_be_observed",
    "in_words",
    "incomplete_parts",
    "kept_in_memory",
    "kinds_not_observed",
    "logits_after_one_step",
    "logits_at_random_point",
    "logits_of_batches",
    "loss_gradients",
    "masked_gradient_warnings",
    "most_frequent_confusions",
    "plan_passes",
    "published_results",
    "read_observations",
    "recorded_success",
    "running_statistics",
    "score_of",
    "series_of",
    "strength",
    "through_branches",
    "top_classes",
    "under_attack",
    "worst_logits",
    "write_observation",
]
