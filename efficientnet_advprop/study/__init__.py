"""What a study of schemes keeps and computes: results of runs, means and paired differences; trains nothing itself."""

from efficientnet_advprop.study.observations import (
    IMAGES,
    has_to_be_observed,
    kinds_not_observed,
    read_observations,
    write_observation,
)
from efficientnet_advprop.study.results import CellResult, Results
from efficientnet_advprop.study.statistics import BRANCH_GAP, SIGNIFICANCE, Row, rows_of

__all__ = [
    "BRANCH_GAP",
    "IMAGES",
    "SIGNIFICANCE",
    "CellResult",
    "Results",
    "Row",
    "has_to_be_observed",
    "kinds_not_observed",
    "read_observations",
    "rows_of",
    "write_observation",
]
