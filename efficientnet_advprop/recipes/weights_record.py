"""What is known about trained weights in a file."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.recipe import Recipe
from efficientnet_advprop.recipes.record import flatten
from efficientnet_advprop.recipes.stored import parse, to_record

# Settings of a network that belong to its trained weights: with others the same weights are another function.
_SETTINGS_OF_WEIGHTS = (
    "network.name",
    "network.width_coefficient",
    "network.depth_coefficient",
    "network.batch_norm_epsilon",
    "network.preprocessing",
)


@dataclasses.dataclass(frozen=True)
class WeightsRecord:
    """Stored inside every checkpoint of a run, so that a file without its folder can still be used rightly.

    Attributes:
        recipe: of the run; its network and data say what pixels the weights expect.
        class_names: in label order.
    """

    recipe: Recipe
    class_names: tuple[str, ...]

    def to_json(self) -> str:
        """The record as text."""
        return json.dumps(to_record(self))

    @classmethod
    def from_json(cls, text: str) -> "WeightsRecord":
        """Read what `to_json` wrote, in this version or an older one.

        Raises:
            RecipeError: for anything else; the message names the field.
        """
        return parse(cls, text)


def refuse_other_classes(weights: str, trained: Sequence[str], where: str, found: Sequence[str]) -> NoReturn:
    """Refuse data whose labels mean other things than those that weights were trained on.

    Raises:
        RecipeError: naming the first difference.
    """
    pairs = itertools.zip_longest(trained, found, fillvalue="none")
    label, (theirs, ours) = next((label, pair) for label, pair in enumerate(pairs) if pair[0] != pair[1])
    raise RecipeError(f"{weights} was trained on other classes: label {label} is {theirs} there, {ours} in {where}")


@dataclasses.dataclass(frozen=True)
class WeightsFacts:
    """What a checkpoint's content and place tell, whoever wrote it.

    Attributes:
        path: of the checkpoint.
        settings: values of a recipe, by path, that these weights need; None where nothing tells and a person must.
        num_classes: width of the classifier.
        recipe: of the run that wrote it; None for weights from elsewhere.
        hinted: settings that a person may know better: told by the file's place alone, or needed by no weight.
        dataset: that they were trained on; None if unknown.
        scheme: that they were trained with; None if unknown.
        is_graph: whether the network comes with them, as in a SavedModel.
    """

    path: str
    settings: dict[str, Any]
    num_classes: int
    recipe: Recipe | None = None
    hinted: tuple[str, ...] = ()
    dataset: str | None = None
    scheme: str | None = None
    is_graph: bool = False

    @classmethod
    def of_run(cls, path: str, recipe: Recipe) -> "WeightsFacts":
        """Those of a run's checkpoint."""
        recorded = flatten(recipe)
        settings = {setting: recorded[setting] for setting in _SETTINGS_OF_WEIGHTS}
        num_classes, dataset = recipe.data.num_label_classes, recipe.data.dataset
        return cls(path, settings, num_classes, recipe, dataset=dataset, scheme=recipe.scheme)
