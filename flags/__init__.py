"""The command line: all flags, and the recipe and options that they give.

In this project write `from absl import flags as absl_flags`: `from absl import flags` would hide this package.
"""

from flags.checks import refuse_contradictions
from flags.comparison import ComparisonSettings, comparison_from_flags
from flags.definitions import FLAGS
from flags.flag import MODES, READING, TRAINING, Flag, RecipeFlag
from flags.given_weights import recipe_of_run, refuse_unread_of_saved_model
from flags.parsing import parse_flags
from flags.recipe_flags import RECIPE_FLAGS
from flags.settings import DataRequest, Settings, data_request, settings_from_flags
from flags.study import StudySettings, study_from_flags

__all__ = [
    "FLAGS",
    "MODES",
    "READING",
    "RECIPE_FLAGS",
    "TRAINING",
    "ComparisonSettings",
    "DataRequest",
    "Flag",
    "RecipeFlag",
    "Settings",
    "StudySettings",
    "comparison_from_flags",
    "data_request",
    "parse_flags",
    "recipe_of_run",
    "refuse_contradictions",
    "refuse_unread_of_saved_model",
    "settings_from_flags",
    "study_from_flags",
]
