"""How networks are evaluated: predictions, accuracies, attacks, corruptions, benchmarks, results and comparisons."""

from efficientnet_advprop.evaluation.accuracy import CleanAccuracy, PgdAccuracy, run_all
from efficientnet_advprop.evaluation.attack_curve import AttackPoint, attack_curves, masked_gradient_warnings
from efficientnet_advprop.evaluation.class_subsets import SUBSETS
from efficientnet_advprop.evaluation.comparison import Comparison, Difference, EvaluatedRun, NetworkRow, compare
from efficientnet_advprop.evaluation.confusions import commonest_confusions
from efficientnet_advprop.evaluation.corrupted import CorruptedAccuracy, corrupted_dataset, kept_in_memory
from efficientnet_advprop.evaluation.examples import adversarial_examples
from efficientnet_advprop.evaluation.imagenet_c import (
    CIFAR_STRENGTHS_BELOW_PX,
    EXTRA,
    GROUPS,
    IMAGENET_C_CORRUPTIONS,
    SEVERITIES,
    CorruptionError,
    CorruptionScore,
    corruption_score,
    incomplete_parts,
    score_of,
)
from efficientnet_advprop.evaluation.measurements import Column
from efficientnet_advprop.evaluation.observation import loss_gradients, running_statistics
from efficientnet_advprop.evaluation.observations import (
    IMAGES,
    has_to_be_observed,
    kinds_not_observed,
    read_observations,
    write_observation,
)
from efficientnet_advprop.evaluation.part_keys import benchmark_of, corruption_key, series_of
from efficientnet_advprop.evaluation.predictions import AnswerCollector, Answers, Batch
from efficientnet_advprop.evaluation.published import Published, published_results
from efficientnet_advprop.evaluation.results import RESULTS_FILE, Evaluated, EvaluationResults, Part
from efficientnet_advprop.evaluation.settings import in_words
from efficientnet_advprop.evaluation.study_results import CellResult, Results
from efficientnet_advprop.evaluation.study_statistics import BRANCH_GAP, SIGNIFICANCE, Row, rows_of
from efficientnet_advprop.evaluation.titles import CORRUPTED, TITLES
from efficientnet_advprop.evaluation.unlabelled import logits_of_batches, top_classes
from efficientnet_advprop.evaluation.worst_case import logits_after_one_step, logits_at_random_point, worst_logits

__all__ = [
    "BRANCH_GAP",
    "CIFAR_STRENGTHS_BELOW_PX",
    "CORRUPTED",
    "EXTRA",
    "GROUPS",
    "IMAGENET_C_CORRUPTIONS",
    "IMAGES",
    "RESULTS_FILE",
    "SEVERITIES",
    "SIGNIFICANCE",
    "SUBSETS",
    "TITLES",
    "AnswerCollector",
    "Answers",
    "AttackPoint",
    "Batch",
    "CellResult",
    "CleanAccuracy",
    "Column",
    "Comparison",
    "CorruptedAccuracy",
    "CorruptionError",
    "CorruptionScore",
    "Difference",
    "Evaluated",
    "EvaluatedRun",
    "EvaluationResults",
    "NetworkRow",
    "Part",
    "PgdAccuracy",
    "Published",
    "Results",
    "Row",
    "adversarial_examples",
    "attack_curves",
    "benchmark_of",
    "commonest_confusions",
    "compare",
    "corrupted_dataset",
    "corruption_key",
    "corruption_score",
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
    "published_results",
    "read_observations",
    "rows_of",
    "run_all",
    "running_statistics",
    "score_of",
    "series_of",
    "top_classes",
    "worst_logits",
    "write_observation",
]
