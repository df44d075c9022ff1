"""A checkpoint as a starting point, whoever wrote it: what is known of its weights, and how to load them."""

import os
from collections.abc import Callable
from typing import Protocol

import tensorflow as tf

from efficientnet_advprop.models.weights import official, run_checkpoint
from efficientnet_advprop.models.weights.checkpoint_file import CheckpointFile
from efficientnet_advprop.recipes import RecipeError, WeightsFacts, preprocessing_of_path


class Weights(Protocol):
    """Trained weights in a file, to evaluate.

    Attributes:
        facts: what is known of them.
        origin: what they are, in a few words.
        step: updates that made them; None if unknown.
        class_names: in label order; None if unknown.
    """

    facts: WeightsFacts
    origin: str
    step: int | None
    class_names: tuple[str, ...] | None

    def read(
        self, make_model: Callable[[], tf.keras.Model], ema: bool = True, allow_extra_variables: bool = False
    ) -> tuple[tf.keras.Model, list[str]]:
        """A network with these weights, made in the current strategy's scope, and what a user should know, in lines."""


class CheckpointWeights(Weights, Protocol):
    """Weights that go into a network of this code: to evaluate, to start from, to export."""

    def load(
        self,
        model: tf.keras.Model,
        ema: bool = True,
        allow_extra_variables: bool = False,
        skip_other_classifier: bool = False,
    ) -> list[str]:
        """Load into a model; returns what a user should know, in lines."""

    def read(
        self, make_model: Callable[[], tf.keras.Model], ema: bool = True, allow_extra_variables: bool = False
    ) -> tuple[tf.keras.Model, list[str]]:
        """See `Weights`."""
        model = make_model()
        return model, self.load(model, ema, allow_extra_variables)


class OfficialWeights(CheckpointWeights):
    """A checkpoint that Google released, or one laid out like them; see `Weights`."""

    step = None
    class_names = None

    def __init__(self, file: CheckpointFile, network_name: str) -> None:
        self._file = file
        self.origin = f"official {network_name}"
        settings = {"network.name": network_name, "network.preprocessing": preprocessing_of_path(file.path)}
        num_classes = official.official_num_classes(file, network_name)
        self.facts = WeightsFacts(file.path, settings, num_classes, hinted=("network.preprocessing",))

    def load(
        self,
        model: tf.keras.Model,
        ema: bool = True,
        allow_extra_variables: bool = False,
        skip_other_classifier: bool = False,
    ) -> list[str]:
        """As `load_official_checkpoint`."""
        return official.load_official_file(model, self._file, ema, allow_extra_variables, skip_other_classifier)


class RunWeights(CheckpointWeights):
    """A checkpoint of a run of this project; see `Weights`."""

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file
        self.step = run_checkpoint.read_step(file)
        record = run_checkpoint.read_record(file)
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
        """As `load_run_checkpoint`.

        Raises:
            RecipeError: also for `allow_extra_variables`, of which a run's checkpoint has none.
        """
        if allow_extra_variables:
            raise RecipeError(f"--allow_extra_variables is for official checkpoints; {self.facts.path} is a run's")
        return run_checkpoint.load_run_checkpoint(model, self._file, ema, skip_other_classifier)


def open_weights(path: str) -> CheckpointWeights:
    """Find out what a checkpoint is, by its content.

    Args:
        path: a checkpoint's prefix, or a folder that holds one; a run's folder means its newest.

    Raises:
        RecipeError: when there is none, it cannot be read, or it is neither an official one nor a run's.
    """
    of_run = os.path.join(path, "checkpoints")
    is_run = tf.io.gfile.isdir(of_run) and not tf.io.gfile.glob(os.path.join(path, "*.index"))
    file = CheckpointFile(of_run if is_run else path)
    if run_checkpoint.is_run_checkpoint(file):
        return RunWeights(file)
    network_name = official.official_network_name(file)
    if network_name is not None:
        return OfficialWeights(file, network_name)
    raise RecipeError(
        f"checkpoint {file.path} is neither an official EfficientNet's (efficientnet-*/...) nor a run's: "
        f"it holds {', '.join(sorted(file.shapes)[:3])}"
    )
