"""The command line: all flags, and the recipe and options that they give.

In this project write `from absl import flags as absl_flags`: `from absl import flags` would hide this package.
"""

from flags.checks import refuse_contradictions as refuse_contradictions, warnings_of as warnings_of
from flags.command import remote_paths as remote_paths
from flags.definitions import FLAGS as FLAGS
from flags.flag import MODES as MODES, READING as READING, TRAINING as TRAINING, Flag as Flag, RecipeFlag as RecipeFlag
from flags.given_weights import (
    recipe_of_run as recipe_of_run,
    refuse_unread_of_saved_model as refuse_unread_of_saved_model,
)
from flags.parsing import parse_flags as parse_flags
from flags.plan import plan_from_flags as plan_from_flags
from flags.printed_recipe import (
    as_flags as as_flags,
    describe_as_command as describe_as_command,
    describe_choice as describe_choice,
)
from flags.recipe_flags import RECIPE_FLAGS as RECIPE_FLAGS
from flags.settings import (
    DataRequest as DataRequest,
    Settings as Settings,
    comparison_from_flags as comparison_from_flags,
    data_request as data_request,
    model_dir_of as model_dir_of,
    names_its_folder as names_its_folder,
    names_run as names_run,
    settings_from_flags as settings_from_flags,
)
from flags.study import StudySettings as StudySettings, study_from_flags as study_from_flags
