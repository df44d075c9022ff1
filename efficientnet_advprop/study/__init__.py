"""What a study of schemes keeps and computes: results of runs, means and paired differences; trains nothing itself."""

from efficientnet_advprop.study.observations import IMAGES, observed_cells, read_observation, write_observation
from efficientnet_advprop.study.results import CellResult, Results
from efficientnet_advprop.study.statistics import BRANCH_GAP, Row, rows_of

__all__ = [
    "BRANCH_GAP",
    "IMAGES",
    "CellResult",
    "Results",
    "Row",
    "observed_cells",
    "read_observation",
    "rows_of",
    "write_observation",
]
