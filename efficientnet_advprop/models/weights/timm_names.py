"""The names of timm's and torchvision's tensors, and the network that they belong to.

Sources: `_efficientnet_blocks.py`, `efficientnet.py`, `resnet.py` and `split_batchnorm.py` of
github.com/huggingface/pytorch-image-models; `resnet.py` of torchvision, whose names are the same.
"""

import re
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from efficientnet_advprop.models import network_class
from efficientnet_advprop.models.efficientnet import EfficientNet, stage_repeats
from efficientnet_advprop.models.layers import build_inner
from efficientnet_advprop.models.network import Network
from efficientnet_advprop.models.resnet import ResNet
from efficientnet_advprop.models.weights.safetensors_file import SafetensorsFile
from efficientnet_advprop.recipes import NETWORKS, RecipeError, family_of, network_spec

# Our layer of a convolution and a batch norm, with timm's names of both.
_WITH_EXPANSION = (("expand", "conv_pw", "bn1"), ("depthwise", "conv_dw", "bn2"), ("project", "conv_pwl", "bn3"))
_WITHOUT_EXPANSION = (("depthwise", "conv_dw", "bn1"), ("project", "conv_pw", "bn2"))
_BOTTLENECK = (("reduce", "conv1", "bn1"), ("filter", "conv2", "bn2"), ("expand", "conv3", "bn3"))
_SHORTCUT = (("shortcut", "downsample.0", "downsample.1"),)
_SQUEEZE_EXCITE = (("reduce", "conv_reduce"), ("expand", "conv_expand"))
_NORM_LEAVES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_STEM_NORM = "bn1"  # of every network
_SECOND_NORM = ".aux_bn.{}"  # of `convert_splitbn_model`, inside the first one
_OF_SECOND_NORM = re.compile(r"\.aux_bn\.(\d+)\.")
_BLOCK = re.compile(r"(?:blocks\.|layer)(\d+)\.(\d+)\.")
_PREFIXES = {"efficientnet": "tf_efficientnet_"}  # others are called as here


class TimmFile(SafetensorsFile):
    """A safetensors file of PyTorch's tensors; shapes and values have TensorFlow's order of dimensions."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.shapes = {name: [shape[axis] for axis in _axes(name, len(shape))] for name, shape in self.shapes.items()}

    def read(self, name: str) -> np.ndarray:
        """A tensor's value, float32."""
        value = super().read(name)
        return value.transpose(_axes(name, value.ndim))

    def count_second_norms(self) -> int:
        """The number of further batch norms beside each one."""
        count = 0
        while f"{_STEM_NORM}{_SECOND_NORM.format(count)}.weight" in self.shapes:
            count += 1
        return count


def _axes(name: str, rank: int) -> tuple[int, ...]:
    """The order of PyTorch's dimensions in TensorFlow."""
    if rank == 4:  # [O, I, h, w] -> [h, w, I, O], and depthwise [C, 1, h, w] -> [h, w, C, 1]
        return (2, 3, 0, 1) if ".conv_dw." in name else (2, 3, 1, 0)
    return tuple(reversed(range(rank)))  # of the classifier [K, F] -> [F, K]


def timm_architecture(network: str) -> str:
    """The name in timm of one of our networks: `tf_efficientnet_b0`, `resnext50_32x4d`."""
    family, _, variant = network.partition("-")
    return _PREFIXES.get(family, family) + variant.replace("-", "_")


def network_of_architecture(architecture: str) -> str:
    """Our name of a network of timm.

    Raises:
        RecipeError: for one that this project does not have; the message lists those that it has.
    """
    known = {timm_architecture(name): name for name in _ours()}
    if architecture not in known:
        raise RecipeError(f"architecture {architecture} is none of {', '.join(known)}")
    return known[architecture]


def network_of_tensors(file: TimmFile) -> str:
    """The network whose blocks a file holds, at its published width and depth.

    Raises:
        RecipeError: when it is none of this project's.
    """
    stages, kind = _stages(file.shapes), EfficientNet if "conv_stem.weight" in file.shapes else ResNet
    for name, class_ in _ours().items():
        spec = network_spec(name)
        # Asked first, because making the layers of all EfficientNets takes seconds.
        repeats = stage_repeats(spec.depth_coefficient) if kind is EfficientNet else stages
        if issubclass(class_, kind) and repeats == stages:
            model = class_(spec)  # without variables
            if _stages(timm_names(model).values()) == stages and _fits_last_block(model, file):
                return name
    raise RecipeError(
        f"{file.path} holds tensors of none of timm's {', '.join(map(timm_architecture, _ours()))}: "
        f"{len(file.shapes)} tensors, among them {', '.join(sorted(file.shapes)[:3])}"
    )


def timm_names(model: Network, num_norms: int = 1) -> dict[str, str]:
    """The name in timm of every variable, by its path.

    Args:
        model: an EfficientNet or a ResNet, built or not.
        num_norms: the number of branches that have names: the first is timm's batch norm, further ones are those that
            `convert_splitbn_model` puts beside it, in this order.
    """
    names = {}
    for path, convolution, norm in _layers(model):
        names[f"{path}.kernel"] = f"{convolution}.weight"
        for number, branch in enumerate(model.branches[:num_norms]):
            owner = norm + (_SECOND_NORM.format(number - 1) if number else "")
            for ours, theirs in _NORM_LEAVES.items():
                names[f"{path}.norm.norms.{branch}.{ours}"] = f"{owner}.{theirs}"
    for path, theirs in _layers_with_bias(model):
        names.update({f"{path}.kernel": f"{theirs}.weight", f"{path}.bias": f"{theirs}.bias"})
    return names


def second_norms_from(names: list[str], first: int) -> list[str]:
    """Those of the names that are of a further batch norm with this number or a larger one."""
    return [name for name in names if (match := _OF_SECOND_NORM.search(name)) and int(match[1]) >= first]


def classifier_bias(network: str) -> str:
    """The name of the bias of our network's classifier."""
    return "classifier.bias" if issubclass(_ours()[network], EfficientNet) else "fc.bias"


def _ours() -> dict[str, type[Network]]:
    """The class of every network that has weights in timm."""
    classes = {name: network_class(family_of(name)) for name in NETWORKS}
    return {name: one for name, one in classes.items() if issubclass(one, EfficientNet | ResNet)}


def _stages(names: Iterable[str]) -> list[int]:
    """The number of blocks in each stage."""
    blocks = {(int(match[1]), int(match[2])) for name in names if (match := _BLOCK.match(name))}
    return [sum(stage == one for one, _ in blocks) for stage in sorted({stage for stage, _ in blocks})]


def _fits_last_block(model: Network, file: TimmFile) -> bool:
    """Whether the kernels of the last block have the file's shapes: they show a network's width and groups."""
    last = len(model.blocks) - 1
    block, names = model.blocks[last], timm_names(model)
    build_inner(block, tf.TensorShape([None, None, None, model.blocks[last - 1].output_filters]))
    layers = [path.split(".")[2] for path, _, _ in _layers(model) if path.startswith(f"blocks.{last}.")]
    return all(
        file.shapes.get(names[f"blocks.{last}.{layer}.kernel"]) == getattr(block, layer).kernel.shape.as_list()
        for layer in layers
    )


def _layers(model: Network) -> Iterator[tuple[str, str, str]]:
    """Path, convolution and batch norm of every layer that has both."""
    if isinstance(model, EfficientNet):
        yield "stem", "conv_stem", _STEM_NORM
        for index, (block, scope) in enumerate(zip(model.blocks, _scopes(model), strict=True)):
            for path, convolution, norm in _WITHOUT_EXPANSION if block.expand is None else _WITH_EXPANSION:
                yield f"blocks.{index}.{path}", f"{scope}.{convolution}", f"{scope}.{norm}"
        yield "head", "conv_head", "bn2"
    else:
        yield "stem", "conv1", _STEM_NORM
        for index, (block, scope) in enumerate(zip(model.blocks, _scopes(model), strict=True)):
            for path, convolution, norm in (*_BOTTLENECK, *(() if block.shortcut is None else _SHORTCUT)):
                yield f"blocks.{index}.{path}", f"{scope}.{convolution}", f"{scope}.{norm}"


def _layers_with_bias(model: Network) -> Iterator[tuple[str, str]]:
    """Path and name of every layer without a batch norm."""
    if isinstance(model, EfficientNet):
        for index, scope in enumerate(_scopes(model)):
            for path, theirs in _SQUEEZE_EXCITE:
                yield f"blocks.{index}.squeeze_excite.{path}", f"{scope}.se.{theirs}"
        yield "classifier", "classifier"
    else:
        yield "classifier", "fc"


def _scopes(model: Network) -> Iterator[str]:
    """The name in timm of every block: its stage and its number there."""
    if isinstance(model, EfficientNet):
        for stage, repeats in enumerate(stage_repeats(model.spec.depth_coefficient)):
            for repeat in range(repeats):
                yield f"blocks.{stage}.{repeat}"
    else:
        stage = repeat = 0
        for block in model.blocks:
            # A stage begins where the shape changes.
            stage, repeat = (stage, repeat + 1) if block.shortcut is None else (stage + 1, 0)
            yield f"layer{stage}.{repeat}"
