"""The official checkpoints, released by Google: EfficientNet B0-B8 and L2, in TF1's format.

Source of the names: `efficientnet_model.py` of tensorflow/tpu, models/official/efficientnet. TF1 numbers the layers of
each scope in the order of their creation: `conv2d`, `conv2d_1`, `tpu_batch_normalization`, and so on.
"""

import re
from collections.abc import Iterator

import tensorflow as tf
from absl import logging

from efficientnet_advprop.models.weights.assignment import assign_weights
from efficientnet_advprop.models.weights.cache import local_weights
from efficientnet_advprop.models.weights.checkpoint_file import CheckpointFile, listed
from efficientnet_advprop.models.weights.releases import official_network_name, preprocessing_of_path
from efficientnet_advprop.recipes import AUXILIARY_BRANCH, MAIN_BRANCH, RecipeError

_AVERAGE = "/ExponentialMovingAverage"
_CLASSIFIER_BIAS = "head/dense/bias"
_NORM = "tpu_batch_normalization"
_NORM_LEAVES = ("gamma", "beta", "moving_mean", "moving_variance")
# Optimizer slots and counters in a TF1 checkpoint.
_OPTIMIZER = re.compile(r"/(RMSProp|Momentum|Adam|LARSOptimizer)(_\d+)?$|^beta[12]_power$|^global_step$")


def official_num_classes(file: CheckpointFile, network_name: str) -> int:
    """The number of classes of an official checkpoint.

    Raises:
        RecipeError: when it has no classifier.
    """
    name = f"{network_name}/{_CLASSIFIER_BIAS}"
    if name not in file.shapes:
        raise RecipeError(f"checkpoint {file.path} lacks {name}, which {network_name} needs")
    return file.shapes[name][0]


def load_official_checkpoint(
    model: tf.keras.Model,
    path: str | CheckpointFile,
    ema: bool = True,
    allow_extra_variables: bool = False,
    skip_other_classifier: bool = False,
) -> list[str]:
    """Load an official EfficientNet checkpoint into a network made by `build_model`.

    The file does not say which preprocessing its weights need: those of AdvProp need `preprocessing="advprop"`, all
    others "imagenet".

    A second set of batch norms is loaded into the auxiliary branch if the model has one. Without one in the file, the
    auxiliary branch starts from the main branch's values.

    Args:
        model: an EfficientNet of the checkpoint's name.
        path: the checkpoint's prefix, or the folder that holds it, local or remote; a name or an address, as
            `open_weights` takes them; or the opened file.
        ema: load the moving averages, for which accuracies were published, not the raw values.
        allow_extra_variables: ignore variables that the network does not have.
        skip_other_classifier: keep the classifier's initialisation when the checkpoint has another number of classes.

    Returns:
        Notes for the user, one per line; they are logged too.

    Raises:
        RecipeError: (a ValueError) when there is no such checkpoint, it cannot be read or is of another network, or
            when variables are missing, of another shape or not the network's; the message lists their names. The model
            is unchanged then.
    """
    held, suffix = model.spec.name, _AVERAGE if ema else ""
    file = path if isinstance(path, CheckpointFile) else CheckpointFile(local_weights(path, CheckpointFile), path)
    _require_network(file, held, ema)
    names = official_names(model)
    extra = _left_over(file, set(names.values()))
    second_norms = _second_norms(names, extra, file)
    notes = []
    if second_norms:
        extra = [name for name in extra if name not in second_norms.values()]
        second_set = f"a second set of batch norms ({listed([*second_norms.values()])})"
        if AUXILIARY_BRANCH in model.branches:
            names.update(second_norms)
            notes.append(f"{AUXILIARY_BRANCH} branch: loaded from {second_set}")
        else:
            notes.append(f"not loaded, as there is no {AUXILIARY_BRANCH} branch: {second_set}")
    if extra and not allow_extra_variables:
        raise RecipeError(
            f"checkpoint {file.path} holds variables that {held} does not have: {listed(extra)} "
            "(--allow_extra_variables ignores them)"
        )
    if extra:
        notes.append(f"not in {held} and ignored: {listed(extra)}")
    tensors = {path: name + suffix for path, name in names.items()}
    notes = assign_weights(model, file, tensors, skip_other_classifier) + notes + _notes_on_preprocessing(model, file)
    for note in notes:
        logging.info("%s", note)
    return notes


def _require_network(file: CheckpointFile, wanted: str, ema: bool) -> None:
    """Refuse a checkpoint of another network, or without the moving averages to load."""
    held = official_network_name(file)
    if held is None:
        raise RecipeError(f"checkpoint {file.path} is not an official EfficientNet's: no variable efficientnet-*/...")
    if held != wanted:
        raise RecipeError(f"checkpoint {file.path} holds {held}, not {wanted}")
    if ema and not any(name.endswith(_AVERAGE) for name in file.shapes):
        raise RecipeError(
            f"checkpoint {file.path} holds no averaged copies (*{_AVERAGE}): ema=False (--noema) loads raw values"
        )


def _notes_on_preprocessing(model: tf.keras.Model, file: CheckpointFile) -> list[str]:
    used, needed = model.spec.preprocessing, preprocessing_of_path(file.given)
    if needed in (None, used):
        return []
    return [
        f"the network's preprocessing is {used}, but weights in a folder of this name need {needed}: with the wrong "
        "one, accuracy is far below the published one"
    ]


def official_names(model: tf.keras.Model) -> dict[str, str]:
    """The official name of every variable of the main branch and of every shared one, by its path."""
    network_name = model.spec.name
    names = {
        "classifier.kernel": f"{network_name}/head/dense/kernel",
        "classifier.bias": f"{network_name}/head/dense/bias",
    }
    for part in ("stem", "head"):
        scope = f"{network_name}/{part}"
        names[f"{part}.kernel"] = f"{scope}/conv2d/kernel"
        names.update(_norm_names(part, f"{scope}/{_NORM}"))
    for index, block in enumerate(model.blocks):
        names.update(_block_names(f"blocks.{index}", f"{network_name}/blocks_{index}", block.expand is not None))
    return names


def _block_names(path: str, scope: str, expands: bool) -> Iterator[tuple[str, str]]:
    """(path, official name) of a block's variables, numbered in TF1's order of creation."""
    convolutions = 0
    layers = ("expand", "depthwise", "project") if expands else ("depthwise", "project")
    for index, layer in enumerate(layers):
        if layer == "depthwise":
            yield f"{path}.{layer}.kernel", f"{scope}/depthwise_conv2d/depthwise_kernel"
        else:
            yield f"{path}.{layer}.kernel", f"{scope}/{_numbered('conv2d', convolutions)}/kernel"
            convolutions += 1
        yield from _norm_names(f"{path}.{layer}", f"{scope}/{_numbered(_NORM, index)}")
    for number, layer in enumerate(("reduce", "expand")):
        for leaf in ("kernel", "bias"):
            yield f"{path}.squeeze_excite.{layer}.{leaf}", f"{scope}/se/{_numbered('conv2d', number)}/{leaf}"


def _norm_names(path: str, scope: str, branch: str = MAIN_BRANCH) -> Iterator[tuple[str, str]]:
    for leaf in _NORM_LEAVES:
        yield f"{path}.norm.norms.{branch}.{leaf}", f"{scope}/{leaf}"


def _numbered(name: str, count: int) -> str:
    return f"{name}_{count}" if count else name


def _left_over(file: CheckpointFile, known: set[str]) -> list[str]:
    """Variables that are neither the network's nor an optimizer's, without the suffix of moving averages."""
    variables = {name.removesuffix(_AVERAGE) for name in file.shapes}
    return sorted(name for name in variables - known if not _OPTIMIZER.search(name))


def _second_norms(names: dict[str, str], extra: list[str], file: CheckpointFile) -> dict[str, str]:
    """Official names of a second, complete set of batch norms, by the auxiliary branch's paths; empty if there is none.

    Whether the released AdvProp files have one, and under which names, is not documented. Any such set must have, in
    every scope, as many batch norms as the first set, with the same shapes in the same order.
    """
    ours = _norms_by_scope([name for path, name in names.items() if f".norms.{MAIN_BRANCH}." in path])
    theirs = _norms_by_scope(extra)
    if ours.keys() != theirs.keys():
        return {}
    paths = {name: path for path, name in names.items()}
    second = {}
    for scope, norms in ours.items():
        if len(norms) != len(theirs[scope]):
            return {}
        for norm, other in zip(norms, theirs[scope], strict=True):
            for leaf in _NORM_LEAVES:
                path = paths[f"{norm}/{leaf}"].replace(f".norms.{MAIN_BRANCH}.", f".norms.{AUXILIARY_BRANCH}.")
                second[path] = f"{other}/{leaf}"
                shapes = [_shape(file, f"{norm}/{leaf}"), _shape(file, f"{other}/{leaf}")]
                if shapes[0] is None or shapes[0] != shapes[1]:
                    return {}
    return second


def _shape(file: CheckpointFile, name: str) -> list[int] | None:
    return file.shapes.get(name, file.shapes.get(name + _AVERAGE))


def _norms_by_scope(names: list[str]) -> dict[str, list[str]]:
    """The batch norms in each scope, in TF1's order of creation, which is the number at the end of the name."""
    norms = {name.rpartition("/")[0] for name in names if name.endswith(_NORM_LEAVES)}
    by_scope: dict[str, list[str]] = {}
    for norm in sorted(norms, key=lambda norm: int(match.group(1)) if (match := re.search(r"_(\d+)$", norm)) else 0):
        by_scope.setdefault(norm.rpartition("/")[0], []).append(norm)
    return by_scope
