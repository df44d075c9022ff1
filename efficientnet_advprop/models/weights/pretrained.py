"""Weights from files of every kind, official, of timm or of a run: the facts about them, and loading.

`training/checkpoints.py` writes those of runs.
"""

import os
from collections.abc import Callable
from typing import Protocol

import tensorflow as tf
from absl import logging

from efficientnet_advprop.models.weights import official
from efficientnet_advprop.models.weights.assignment import assign_weights
from efficientnet_advprop.models.weights.cache import local_weights
from efficientnet_advprop.models.weights.checkpoint_file import CheckpointFile
from efficientnet_advprop.models.weights.releases import folder_of_path, official_network_name, preprocessing_of_path
from efficientnet_advprop.models.weights.safetensors_file import find_safetensors
from efficientnet_advprop.models.weights.timm_weights import TimmContent, load_timm
from efficientnet_advprop.paths import named_like
from efficientnet_advprop.recipes import RecipeError, WeightsFacts, WeightsRecord

# Keys of a run's checkpoint.
_VALUE = ".ATTRIBUTES/VARIABLE_VALUE"
_RECORD = "record/.ATTRIBUTES/py_state"
_STEP = f"optimizer/_iterations/{_VALUE}"


class Weights(Protocol):
    """Trained weights in a file, for evaluation.

    Attributes:
        facts: settings that the file determines.
        origin: a short description.
        step: number of training steps; None if unknown.
        class_names: in label order; None if unknown.
    """

    facts: WeightsFacts
    origin: str
    step: int | None
    class_names: tuple[str, ...] | None

    def read(
        self, make_model: Callable[[], tf.keras.Model], ema: bool = True, allow_extra_variables: bool = False
    ) -> tuple[tf.keras.Model, list[str]]:
        """A network with these weights, made in the current strategy's scope, and notes for the user, one per line."""


class CheckpointWeights(Weights, Protocol):
    """Weights that can be loaded into a `Network`, for evaluation, initialisation and export."""

    def load(
        self,
        model: tf.keras.Model,
        ema: bool = True,
        allow_extra_variables: bool = False,
        skip_other_classifier: bool = False,
    ) -> list[str]:
        """Load into a model; returns notes for the user, one per line."""

    def read(
        self, make_model: Callable[[], tf.keras.Model], ema: bool = True, allow_extra_variables: bool = False
    ) -> tuple[tf.keras.Model, list[str]]:
        """See `Weights`."""
        model = make_model()
        return model, self.load(model, ema, allow_extra_variables)


class OfficialWeights(CheckpointWeights):
    """An official checkpoint, or one with the same layout; see `Weights`."""

    step = None
    class_names = None

    def __init__(self, file: CheckpointFile, network_name: str) -> None:
        self._file = file
        self.origin = f"official {network_name}"
        settings = {"network.name": network_name, "network.preprocessing": preprocessing_of_path(file.given)}
        num_classes = official.official_num_classes(file, network_name)
        hinted, folder = ("network.preprocessing",), folder_of_path(file.given)
        self.facts = WeightsFacts(file.path, settings, num_classes, hinted=hinted, hinting_folder=folder)

    def load(
        self,
        model: tf.keras.Model,
        ema: bool = True,
        allow_extra_variables: bool = False,
        skip_other_classifier: bool = False,
    ) -> list[str]:
        """As `load_official_checkpoint`."""
        return official.load_official_checkpoint(model, self._file, ema, allow_extra_variables, skip_other_classifier)


class TimmWeights(CheckpointWeights):
    """A safetensors file of timm's or torchvision's tensors; see `Weights`."""

    step = None
    class_names = None

    def __init__(self, content: TimmContent) -> None:
        self._content = content
        self.origin = f"timm's {content.network}"
        preprocessing = None if content.config is None else content.config.preprocessing
        settings = {"network.name": content.network, "network.preprocessing": preprocessing}
        self.facts = WeightsFacts(content.file.path, settings, content.num_classes, has_averages=False)

    def load(
        self,
        model: tf.keras.Model,
        ema: bool = True,
        allow_extra_variables: bool = False,
        skip_other_classifier: bool = False,
    ) -> list[str]:
        """As `load_weights`; `ema=False` is refused, because the file holds one set of weights."""
        if not ema:
            raise RecipeError(f"--noema: {self.facts.path} holds one set of weights, and no averaged ones beside it")
        return load_timm(model, self._content, allow_extra_variables, skip_other_classifier)


class RunWeights(CheckpointWeights):
    """A checkpoint of a run of this project; see `Weights`."""

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file
        self.step = int(file.read(_STEP))
        try:
            record = WeightsRecord.from_json(file.read(_RECORD).decode())
        except RecipeError as error:
            raise RecipeError(f"checkpoint {file.path}: {error}") from error
        self.class_names = record.class_names
        self.origin = f"{record.recipe.network.name} of a run on {record.recipe.data.dataset}, step {self.step}"
        self.facts = WeightsFacts.of_run(file.path, record.recipe)

    def load(
        self,
        model: tf.keras.Model,
        ema: bool = True,
        allow_extra_variables: bool = False,
        skip_other_classifier: bool = False,
    ) -> list[str]:
        """Load into the run's network, with the same or other branches; the notes are logged too.

        Args:
            model: the network.
            ema: load the moving averages, not the raw values.
            allow_extra_variables: refused, because a run's checkpoint has no extra variables.
            skip_other_classifier: keep the classifier's initialisation for another number of classes.

        Raises:
            RecipeError: when variables are missing or of another shape; the message lists their names.
        """
        if allow_extra_variables:
            raise RecipeError(
                f"--allow_extra_variables is for official checkpoints and timm's weights; {self.facts.path} is a run's"
            )
        root, shapes = "average_model" if ema else "model", self._file.shapes
        keys = {path: f"{root}/{path.replace('.', '/')}/{_VALUE}" for path in model.weights_by_path()}
        # Variables of other branches can start from the main branch's; all others must be in the file.
        optional = tuple(f".norms.{branch}." for branch in model.branches[1:])
        used = {path: key for path, key in keys.items() if key in shapes or not any(part in path for part in optional)}
        notes = assign_weights(model, self._file, used, skip_other_classifier)
        for note in notes:
            logging.info("%s", note)
        return notes


def open_weights(path: str, cache_dir: str | None = None, offline: bool = False) -> CheckpointWeights:
    """Open weights; their content shows whether they are official ones, timm's or a run's.

    Args:
        path: a checkpoint's prefix, or a folder that holds one; of a run's folder the newest is opened. Or a
            safetensors file, or a folder with `model.safetensors`. Where there is none of them: a name of Google's
            releases, such as `advprop/efficientnet-b7`, or the https address of an archive or a safetensors file.
        cache_dir: the folder that keeps what was downloaded; None for ~/.cache/efficientnet_advprop.
        offline: download nothing.

    Raises:
        RecipeError: when there are none, they cannot be downloaded or read, or are of no kind; for a `cache_dir` beside
            a path.
    """
    return _open(local_weights(path, _open, cache_dir, offline), path)


def _open(path: str, given: str | None = None) -> CheckpointWeights:
    if safetensors := find_safetensors(path):
        return TimmWeights(TimmContent(safetensors))
    run_checkpoints = os.path.join(path, "checkpoints")
    is_run = tf.io.gfile.isdir(run_checkpoints) and not named_like(path, "*.index")
    file = CheckpointFile(run_checkpoints) if is_run else CheckpointFile(path, given)
    if _RECORD in file.shapes and _STEP in file.shapes:
        return RunWeights(file)
    network_name = official_network_name(file)
    if network_name is not None:
        return OfficialWeights(file, network_name)
    raise RecipeError(
        f"checkpoint {file.path} is neither an official EfficientNet's (efficientnet-*/...) nor a run's: "
        f"it holds {', '.join(sorted(file.shapes)[:3])}"
    )


def load_weights(
    model: tf.keras.Model,
    path: str,
    ema: bool = True,
    allow_extra_variables: bool = False,
    skip_other_classifier: bool = False,
) -> list[str]:
    """Load weights of any kind into a network made by `build_model`: official ones, timm's and torchvision's, a run's.

    Neither official checkpoints nor safetensors files say which preprocessing their weights need; timm's `config.json`
    beside a file does, and then another one is refused.

    Branches that have no weights in the file start from the main branch's values.

    Args:
        model: the network that the file holds, with the same or other branches.
        path: a checkpoint's prefix, the folder of a checkpoint or of a run, local or remote; or a safetensors file, or
            a folder with `model.safetensors`, local; or a name or an address, as for `open_weights`.
        ema: load the moving averages of a checkpoint, not the raw values; a safetensors file holds one set.
        allow_extra_variables: ignore variables that the network does not have.
        skip_other_classifier: keep the classifier's initialisation when the file has another number of classes.

    Returns:
        Notes for the user, one per line; they are logged too.

    Raises:
        RecipeError: (a ValueError) when there are none, they cannot be read or are of another network, or when
            variables are missing, of another shape or not the network's; the message lists their names. The model is
            unchanged then.
    """
    return open_weights(path).load(model, ema, allow_extra_variables, skip_other_classifier)
