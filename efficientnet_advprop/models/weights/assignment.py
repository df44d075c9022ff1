"""Assigning a checkpoint's values to a network: all of them with the right shapes, or none."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import tensorflow as tf

from efficientnet_advprop.models.weights.checkpoint_file import listed
from efficientnet_advprop.recipes import MAIN_BRANCH, RecipeError

_CLASSIFIER = "classifier."


class TensorFile(Protocol):
    """A file of named tensors in TensorFlow's order of dimensions.

    Attributes:
        path: for messages.
        shapes: shape of every tensor by name.
    """

    path: str
    shapes: dict[str, list[int]]

    def read(self, name: str) -> np.ndarray:
        """A tensor's value."""


def assign_weights(
    model: tf.keras.Model, file: TensorFile, names: Mapping[str, str], skip_other_classifier: bool
) -> list[str]:
    """Assign a checkpoint's tensors to a network's variables.

    A branch that the checkpoint lacks gets the main branch's values, because its batch norms fit the shared weights.

    Args:
        model: the network, built.
        file: the checkpoint.
        names: the tensor's name by the variable's path, for the main branch and the shared variables at least.
        skip_other_classifier: keep the classifier's initialisation when the checkpoint's has another shape.

    Returns:
        Notes for the user, one per line.

    Raises:
        RecipeError: when tensors are missing or of another shape; no variable has changed then.
    """
    variables = model.weights_by_path()
    notes = []
    sources = {path: names[path] for path in variables if path in names}
    for branch in model.branches[1:]:
        main_paths = {path: _in_main(path, branch) for path in variables if _in_main(path, branch)}
        absent = [path for path in main_paths if path not in sources]
        if absent:
            sources.update({path: names[main_path] for path, main_path in main_paths.items()})
            notes.append(f"{branch} branch: starts from the main branch's values, the checkpoint has none for it")
    missing = sorted({name for name in sources.values() if name not in file.shapes})
    if missing:
        raise RecipeError(f"checkpoint {file.path} lacks {listed(missing)}, which {model.spec.name} needs")
    wrong = {path: name for path, name in sources.items() if file.shapes[name] != variables[path].shape.as_list()}
    if skip_other_classifier and wrong and all(path.startswith(_CLASSIFIER) for path in wrong):
        skipped = [path for path in sources if path.startswith(_CLASSIFIER)]
        notes.append(
            f"not loaded, for another number of classes ({model.num_classes} here): "
            + ", ".join(f"{sources[path]} {file.shapes[sources[path]]}" for path in skipped)
        )
        sources = {path: name for path, name in sources.items() if path not in skipped}
    elif wrong:
        described = [
            f"{name} {file.shapes[name]} instead of {variables[path].shape.as_list()}" for path, name in wrong.items()
        ]
        raise RecipeError(f"checkpoint {file.path} does not fit {model.spec.name}: {listed(described)}")
    values = {name: file.read(name) for name in set(sources.values())}  # all are read before the first is assigned
    for path, name in sources.items():
        variables[path].assign(values[name])
    return notes


def _in_main(path: str, branch: str) -> str:
    """The path of the main branch's counterpart of a branch's variable; empty for other variables."""
    owner = f".norms.{branch}."
    return path.replace(owner, f".norms.{MAIN_BRANCH}.") if owner in path else ""
