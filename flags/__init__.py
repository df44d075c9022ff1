"""Command line: every flag, and the way from flags to a recipe and run options.

`from absl import flags` would hide this package: inside the project it is `from absl import flags as absl_flags`.
"""

from flags.checks import refuse_unread_of_saved_model
from flags.comparison import ComparisonSettings, comparison_from_flags
from flags.definitions import MODES
from flags.parsing import parse_flags
from flags.settings import DataRequest, Settings, data_request, settings_from_flags
from flags.study import StudySettings, study_from_flags

__all__ = [
    "MODES",
    "ComparisonSettings",
    "DataRequest",
    "Settings",
    "StudySettings",
    "comparison_from_flags",
    "data_request",
    "parse_flags",
    "refuse_unread_of_saved_model",
    "settings_from_flags",
    "study_from_flags",
]
