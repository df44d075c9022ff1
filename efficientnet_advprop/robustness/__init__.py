"""What robustness benchmarks are made of beside pictures and networks: their rules, their results, their comparison."""

from efficientnet_advprop.robustness.class_subsets import SUBSETS
from efficientnet_advprop.robustness.imagenet_c import (
    EXTRA,
    EXTRA_ALEXNET_ERRORS,
    GROUPS,
    IMAGENET_C_CORRUPTIONS,
    SEVERITIES,
    CorruptionError,
    CorruptionScore,
    corruption_score,
)
from efficientnet_advprop.robustness.results import RESULTS_FILE, Evaluated, EvaluationResults, Part

__all__ = [
    "EXTRA",
    "EXTRA_ALEXNET_ERRORS",
    "GROUPS",
    "IMAGENET_C_CORRUPTIONS",
    "RESULTS_FILE",
    "SEVERITIES",
    "SUBSETS",
    "CorruptionError",
    "CorruptionScore",
    "Evaluated",
    "EvaluationResults",
    "Part",
    "corruption_score",
]
