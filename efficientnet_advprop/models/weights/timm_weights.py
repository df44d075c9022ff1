"""Weights of timm and torchvision in safetensors files, loaded into a network; `config.json` beside them."""

import dataclasses
import os
from typing import Annotated, Any

import tensorflow as tf
from absl import logging

from efficientnet_advprop.files import read_or_refuse
from efficientnet_advprop.models.weights.assignment import assign_weights
from efficientnet_advprop.models.weights.checkpoint_file import listed
from efficientnet_advprop.models.weights.timm_names import (
    TimmFile,
    classifier_bias,
    network_of_architecture,
    network_of_tensors,
    second_norms_from,
    timm_names,
)
from efficientnet_advprop.recipes import COUNT, FRACTION, SIZE_PX, JsonObject, RecipeError, from_values, json_values

_CONFIG = "config.json"
_COUNTER = ".num_batches_tracked"  # of PyTorch's batch norms; only a momentum of None reads it
# Mean and standard deviation of values in [0, 1], and our name of this normalisation.
_PREPROCESSINGS = {
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)): "advprop",
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)): "imagenet",
}
_PerChannel = tuple[float, float, float]
# Of `pretrained_cfg`; an older `config.json` has them beside "architecture".
_PRETRAINED = {
    "num_classes": Annotated[int | None, COUNT],
    "input_size": tuple[int, int, Annotated[int, SIZE_PX]] | None,
    "crop_pct": Annotated[float | None, FRACTION],
    "interpolation": str | None,
    "mean": _PerChannel | None,
    "std": _PerChannel | None,
    "": Any,
}
_CONTENT = JsonObject(
    {"architecture": str}, {"pretrained_cfg": JsonObject({}, _PRETRAINED), "global_pool": str, **_PRETRAINED}
)


@dataclasses.dataclass(frozen=True)
class TimmConfig:
    """What timm's `config.json` says of the weights beside it.

    Attributes:
        network: our name of the architecture.
        num_classes: number of classes; None if it does not say.
        preprocessing: "advprop" or "imagenet"; None if it does not say.
        image_size: side of the images of the published evaluation, in pixels; None if it does not say.
        evaluation: the published evaluation, for a message.
    """

    network: str
    num_classes: int | None
    preprocessing: str | None
    image_size: int | None
    evaluation: str


class TimmContent:
    """A safetensors file of timm's names, its network and its `config.json`.

    Args:
        path: of the file.

    Attributes:
        file: the tensors.
        network: our name of the network: by `config.json`, else by the shapes.
        num_classes: number of outputs of the classifier.
        config: what lies beside the file; None without a `config.json`.

    Raises:
        RecipeError: when the file or the `config.json` cannot be read, or they are not of a network of this project, or
            contradict each other.
    """

    def __init__(self, path: str) -> None:
        self.file = TimmFile(path)
        self.config = _read_config(os.path.join(os.path.dirname(path), _CONFIG))
        self.network = network_of_tensors(self.file) if self.config is None else self.config.network
        bias = classifier_bias(self.network)
        if bias not in self.file.shapes:
            raise RecipeError(f"{path} lacks {bias}, which {self.network} needs")
        shape = self.file.shapes[bias]
        if len(shape) != 1 or not shape[0]:
            raise RecipeError(f"{path}: {bias} has the shape {shape}, not one number per class")
        self.num_classes = shape[0]
        if self.config is not None and self.config.num_classes not in (None, self.num_classes):
            raise RecipeError(
                f"{path} has {self.num_classes} classes, and {_CONFIG} beside it {self.config.num_classes}"
            )


def load_timm(
    model: tf.keras.Model, content: TimmContent, allow_extra_variables: bool, skip_other_classifier: bool
) -> list[str]:
    """Load timm's weights into a network made by `build_model`; see `load_weights`.

    The batch norms that timm's `convert_splitbn_model` puts beside each one fill the second and the third branch, in
    their order. Without them the other branches start from the main branch's values.

    Raises:
        RecipeError: for another network or preprocessing than the file's, or when tensors are missing, of another shape
            or not the network's; the message lists their names. The model is unchanged then.
    """
    file, config = content.file, content.config
    _require_network(model, content)
    found = file.count_second_norms()
    names = timm_names(model, 1 + found)
    known = set(names.values())
    extra = sorted(name for name in file.shapes if name not in known and not name.endswith(_COUNTER))
    unused = second_norms_from(extra, len(model.branches) - 1)
    extra = [name for name in extra if name not in unused]
    if extra and not allow_extra_variables:
        raise RecipeError(
            f"{file.path} holds tensors that {model.spec.name} does not have: {listed(extra)} "
            "(--allow_extra_variables ignores them)"
        )
    notes = assign_weights(model, file, names, skip_other_classifier)
    notes += [f"{branch} branch: loaded from aux_bn.{n}" for n, branch in enumerate(model.branches[1 : 1 + found])]
    if unused:
        notes.append(f"not loaded, as there is no branch for them: {listed(unused)}")
    if extra:
        notes.append(f"not in {model.spec.name} and ignored: {listed(extra)}")
    if config is not None and config.evaluation:
        notes.append(f"published evaluation, by {_CONFIG}: {config.evaluation}")
        if config.image_size not in (None, model.spec.input_image_size):
            notes[-1] += f"; this network's images have {model.spec.input_image_size} px (--input_image_size)"
    for note in notes:
        logging.info("%s", note)
    return notes


def _require_network(model: tf.keras.Model, content: TimmContent) -> None:
    """Refuse to load into another network, or into one with another preprocessing."""
    path = content.file.path
    if model.spec.name != content.network:
        raise RecipeError(f"{path} holds {content.network}, not {model.spec.name}")
    needed = None if content.config is None else content.config.preprocessing
    if needed not in (None, model.spec.preprocessing):
        raise RecipeError(
            f"{path} needs preprocessing {needed}, by {_CONFIG} beside it; the network's is {model.spec.preprocessing}"
        )


def _read_config(path: str) -> TimmConfig | None:
    if not os.path.exists(path):
        return None
    return read_or_refuse(path, _parsed, "the file beside weights has to be timm's; remove it if it is another")


def _parsed(content: bytes) -> TimmConfig:
    values = from_values(_CONTENT, json_values(content))
    pretrained = values.get("pretrained_cfg", values)
    network = network_of_architecture(values["architecture"])
    if values.get("global_pool", "avg") != "avg":
        raise RecipeError(f"global_pool {values['global_pool']!r}; {network} has avg")
    size = pretrained.get("input_size")
    size = None if size is None else size[-1]
    said = {"px": size, "crop_pct": pretrained.get("crop_pct"), "interpolation": pretrained.get("interpolation")}
    evaluation = ", ".join(f"{what} {value}" for what, value in said.items() if value is not None)
    return TimmConfig(network, values.get("num_classes"), _preprocessing(pretrained), size, evaluation)


def _preprocessing(pretrained: dict[str, Any]) -> str | None:
    """The preprocessing of this mean and standard deviation; None where they are not given."""
    mean, std = pretrained.get("mean"), pretrained.get("std")
    if mean is None or std is None:
        return None
    for (known_mean, known_std), name in _PREPROCESSINGS.items():
        if (mean, std) == (known_mean, known_std):
            return name
    known = "; ".join(f"{list(one)}, {list(other)} ({name})" for (one, other), name in _PREPROCESSINGS.items())
    raise RecipeError(f"mean {list(mean)} and std {list(std)} are not among those of this project: {known}")
