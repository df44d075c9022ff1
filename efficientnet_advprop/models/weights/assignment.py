"""Putting a checkpoint's values into a network: all of them, of the right shapes, or none."""

from collections.abc import Mapping

import tensorflow as tf

from efficientnet_advprop.models.weights.checkpoint_file import CheckpointFile, listed
from efficientnet_advprop.recipes import MAIN_BRANCH, RecipeError

_CLASSIFIER = "classifier."


def assign_weights(
    model: tf.keras.Model, file: CheckpointFile, names: Mapping[str, str], skip_other_classifier: bool
) -> list[str]:
    """Assign a checkpoint's tensors to a network's variables.

    The variables of a branch that the checkpoint does not have get the main branch's values: its batch norms then
    start as the ones that the shared weights were trained with.

    Args:
        model: the network, built.
        file: the checkpoint.
        names: the tensor's name for every variable's path, those of the main branch and the shared ones at least.
        skip_other_classifier: leave the classifier as it is when its shape differs.

    Returns:
        What a user should know, in lines.

    Raises:
        RecipeError: when tensors are missing or of another shape, before anything is assigned.
    """
    variables = model.weights_by_path()
    notes = []
    sources = {path: names[path] for path in variables if path in names}
    for branch in model.branches[1:]:
        alike = {path: _in_main(path, branch) for path in variables if _in_main(path, branch)}
        absent = [path for path in alike if path not in sources]
        if absent:
            sources.update({path: names[alike[path]] for path in alike})
            notes.append(f"{branch} branch: starts from the main branch's values, the checkpoint has none of its own")
    missing = sorted({name for name in sources.values() if name not in file.shapes})
    if missing:
        raise RecipeError(f"checkpoint {file.path} lacks {listed(missing)}, which {model.network.name} needs")
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
        raise RecipeError(f"checkpoint {file.path} does not fit {model.network.name}: {listed(described)}")
    values = {name: file.read(name) for name in set(sources.values())}  # all, before the first is assigned
    for path, name in sources.items():
        variables[path].assign(values[name])
    return notes


def _in_main(path: str, branch: str) -> str:
    """The main branch's path of a branch's variable; empty for others."""
    place = f".norms.{branch}."
    return path.replace(place, f".norms.{MAIN_BRANCH}.") if place in path else ""
