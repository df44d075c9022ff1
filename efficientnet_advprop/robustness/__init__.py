"""What robustness benchmarks are made of beside pictures and networks: their rules, their results, their comparison."""

from efficientnet_advprop.robustness.attack_curve import AttackPoint, attack_curves, masked_gradient_warnings
from efficientnet_advprop.robustness.class_subsets import SUBSETS
from efficientnet_advprop.robustness.comparison import Comparison, Difference, EvaluatedRun, NetworkRow, compare
from efficientnet_advprop.robustness.confusions import commonest_confusions
from efficientnet_advprop.robustness.imagenet_c import (
    CIFAR_STRENGTHS_BELOW_PX,
    EXTRA,
    EXTRA_ALEXNET_ERRORS,
    GROUPS,
    IMAGENET_C_CORRUPTIONS,
    SEVERITIES,
    CorruptionError,
    CorruptionScore,
    corruption_score,
    incomplete_parts,
    score_of,
)
from efficientnet_advprop.robustness.measurements import Column
from efficientnet_advprop.robustness.part_keys import attack_key, benchmark_of, corruption_key, series_of
from efficientnet_advprop.robustness.published import Published, published_results
from efficientnet_advprop.robustness.results import RESULTS_FILE, Evaluated, EvaluationResults, Part
from efficientnet_advprop.robustness.settings import in_words
from efficientnet_advprop.robustness.titles import CORRUPTED, TITLES

__all__ = [
    "CIFAR_STRENGTHS_BELOW_PX",
    "CORRUPTED",
    "EXTRA",
    "EXTRA_ALEXNET_ERRORS",
    "GROUPS",
    "IMAGENET_C_CORRUPTIONS",
    "RESULTS_FILE",
    "SEVERITIES",
    "SUBSETS",
    "TITLES",
    "AttackPoint",
    "Column",
    "Comparison",
    "CorruptionError",
    "CorruptionScore",
    "Difference",
    "Evaluated",
    "EvaluatedRun",
    "EvaluationResults",
    "NetworkRow",
    "Part",
    "Published",
    "attack_curves",
    "attack_key",
    "benchmark_of",
    "commonest_confusions",
    "compare",
    "corruption_key",
    "corruption_score",
    "in_words",
    "incomplete_parts",
    "masked_gradient_warnings",
    "published_results",
    "score_of",
    "series_of",
]
