"""The properties of trained weights: those recorded in a run's checkpoint, and those found for any file."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.recipe import Recipe
from efficientnet_advprop.recipes.record import flatten
from efficientnet_advprop.recipes.stored import parse, to_record

# Settings of a network that its trained weights depend on: with other values the weights compute another function.
_SETTINGS_OF_WEIGHTS = (
    "network.name",
    "network.width_coefficient",
    "network.depth_coefficient",
    "network.batch_norm_epsilon",
    "network.preprocessing",
)


@dataclasses.dataclass(frozen=True)
class WeightsRecord:
    """Stored inside every checkpoint of a run, so that a checkpoint can be used without the run's folder.

    Attributes:
        recipe: of the run; it gives the network and the preprocessing of images.
        class_names: in label order.
    """

    recipe: Recipe
    class_names: tuple[str, ...]

    def to_json(self) -> str:
        """The record as JSON."""
        return json.dumps(to_record(self))

    @classmethod
    def from_json(cls, text: str) -> "WeightsRecord":
        """Read the text that `to_json` of this version or an older one wrote.

        Raises:
            RecipeError: for any other text; the message names the field.
        """
        return parse(cls, text)


def refuse_other_classes(weights: str, trained: Sequence[str], where: str, found: Sequence[str]) -> NoReturn:
    """Refuse data with other classes than those that weights were trained on.

    Args:
        weights: path of the weights, for the message.
        trained: class names of the weights, in label order.
        where: place of the data, for the message.
        found: class names of the data, which differ.

    Raises:
        RecipeError: naming the first difference.
    """
    pairs = itertools.zip_longest(trained, found, fillvalue="none")
    label, (theirs, ours) = next((label, pair) for label, pair in enumerate(pairs) if pair[0] != pair[1])
    raise RecipeError(f"{weights} was trained on other classes: label {label} is {theirs} there, {ours} in {where}")


@dataclasses.dataclass(frozen=True)
class WeightsFacts:
    """The properties of trained weights that their content and their path give, for checkpoints of every origin.

    Attributes:
        path: of the checkpoint.
        settings: recipe values that these weights need, by path; None for a value that a flag must give.
        num_classes: number of outputs of the classifier.
        recipe: of the run that wrote the checkpoint; None for other weights.
        hinted: settings that a flag may override: they come from a folder's name only, or no variable depends on them.
        hinting_folder: the folder in the weights' path whose name gives their preprocessing; None without one.
        dataset: the training data set; None if unknown.
        scheme: the training scheme; None if unknown.
        is_graph: whether the file contains the network as a graph, like a SavedModel.
        of_other_classes: whether the run that starts from them has other classes.
        has_averages: whether a checkpoint may hold moving averages beside the raw values.
    """

    path: str
    settings: dict[str, Any]
    num_classes: int
    recipe: Recipe | None = None
    hinted: tuple[str, ...] = ()
    hinting_folder: str | None = None
    dataset: str | None = None
    scheme: str | None = None
    is_graph: bool = False
    of_other_classes: bool = False
    has_averages: bool = True

    def kind(self, ema: bool) -> str:
        """Which of the weights in the file are used, in words."""
        if self.is_graph:
            return "as exported"
        if not self.has_averages:
            return "as stored"
        return "averaged" if ema else "raw"

    @classmethod
    def of_run(cls, path: str, recipe: Recipe) -> "WeightsFacts":
        """The facts of a run's checkpoint."""
        recorded = flatten(recipe)
        settings = {setting: recorded[setting] for setting in _SETTINGS_OF_WEIGHTS}
        num_classes, dataset = recipe.data.num_label_classes, recipe.data.dataset
        return cls(path, settings, num_classes, recipe, dataset=dataset, scheme=recipe.scheme)
