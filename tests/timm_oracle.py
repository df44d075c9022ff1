"""What timm computes: names and shapes of its tensors, logits on values that NumPy makes alike everywhere.

`python tests/timm_oracle.py`, with torch, torchvision and timm, writes data/timm. The tests read it without them.
"""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data" / "timm"
SIZES = (64, 97, 128)  # odd and even: padding differs
NUM_CLASSES = 10
# Architecture -> mean and standard deviation of its pixels in [0, 1].
_INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALISATIONS = {
    "tf_efficientnet_b0": _INCEPTION,
    "tf_efficientnet_b2": _IMAGENET,
    "resnet50": _IMAGENET,
    "resnext50_32x4d": _IMAGENET,
}
SPLIT = "tf_efficientnet_b0"  # with three sets of batch norms too
SPLIT_SIZE = 64
ARCHITECTURES = (
    *(f"tf_efficientnet_{size}" for size in ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "l2")),
    *(f"resnet{layers}" for layers in (50, 101, 152, 200)),
    *(f"resnext{kind}" for kind in ("50_32x4d", "101_32x8d", "101_32x16d", "101_32x32d", "101_32x48d")),
)


def pseudo_random_value(name: str, shape: list[int]) -> np.ndarray:
    """The fixed value of a tensor: normal numbers seeded by the name, on a scale that keeps activations of order 1."""
    owner, _, leaf = name.rpartition(".")
    if leaf == "num_batches_tracked":
        return np.array(7, np.int64)
    normal = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if leaf == "running_var":
        return np.exp(np.float32(0.3) * normal)
    in_resnet = owner.startswith("layer")
    if leaf == "weight" and len(shape) == 1:  # of a batch norm; in ResNets a sum grows with every residual path
        return np.float32(0.3 if in_resnet and owner.endswith("bn3") else 1) * (1 + np.float32(0.2) * normal)
    if len(shape) == 1:
        return np.float32(0.2) * normal
    # Swish and the gates of squeeze and excitation make values smaller than relu does.
    return normal * np.float32(np.sqrt((1.5 if in_resnet else 2) / np.prod(shape[1:])))


def state_dict(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """The values of all tensors."""
    return {name: pseudo_random_value(name, shape) for name, shape in shapes.items()}


def with_second_norms(shapes: dict[str, list[int]], count: int) -> dict[str, list[int]]:
    """The shapes with those of the batch norms that `convert_splitbn_model` adds beside each one."""
    owners = {name.rpartition(".")[0] for name in shapes if name.endswith(".running_var")}
    added = {
        f"{owner}.aux_bn.{number}.{leaf}": shape
        for name, shape in shapes.items()
        for owner, _, leaf in [name.rpartition(".")]
        if owner in owners
        for number in range(count)
    }
    return shapes | added


def images(size: int) -> np.ndarray:
    """Float32 [2, size, size, 3] in [0, 255]."""
    return np.random.default_rng(size).uniform(0, 255, [2, size, size, 3]).astype(np.float32)


def shapes_of(architecture: str) -> dict[str, list[int]]:
    """Name and shape of every tensor of timm's state dict, with 1000 classes."""
    return json.loads(gzip.decompress((DATA / "shapes.json.gz").read_bytes()))[architecture]


def small_head(shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    """The shapes with ten classes."""
    return {
        name: [NUM_CLASSES, *shape[1:]] if name.startswith(("classifier.", "fc.")) else shape
        for name, shape in shapes.items()
    }


def expected_logits() -> dict[str, np.ndarray]:
    """Logits [2, 10] by architecture and size ("resnet50/97"); of `SPLIT` by its set of batch norms ("aux_bn.0")."""
    return dict(np.load(DATA / "logits.npz"))


def main() -> None:
    """Write names and shapes, and logits, from timm."""
    import timm
    import torch
    import torchvision

    def made(architecture: str) -> torch.nn.Module:
        if architecture == "resnext101_32x48d":  # torch.hub's, of facebookresearch/WSL-Images
            block = torchvision.models.resnet.Bottleneck
            return torchvision.models.ResNet(block, [3, 4, 23, 3], groups=32, width_per_group=48)
        return timm.create_model(architecture)

    shapes = {}
    with torch.device("meta"):
        for architecture in ARCHITECTURES:
            shapes[architecture] = {name: list(one.shape) for name, one in made(architecture).state_dict().items()}
            theirs = getattr(torchvision.models, architecture, None)
            if theirs is not None:
                names = {name: list(one.shape) for name, one in theirs().state_dict().items()}
                assert shapes[architecture] == names, architecture
                print(architecture, "torchvision's names and shapes are the same")
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / "shapes.json.gz").write_bytes(gzip.compress(json.dumps(shapes).encode(), mtime=0))

    @torch.inference_mode()
    def logits(model: torch.nn.Module, architecture: str, size: int) -> np.ndarray:
        mean, std = (np.float32(one) for one in NORMALISATIONS[architecture])
        normalized = (images(size) / np.float32(255) - mean) / std
        return model.eval()(torch.from_numpy(normalized.transpose(0, 3, 1, 2).copy())).numpy()

    def tensors(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(np.asarray(value)) for name, value in state_dict(shapes).items()}

    expected = {}
    for architecture in NORMALISATIONS:
        model = timm.create_model(architecture, num_classes=NUM_CLASSES)
        model.load_state_dict(tensors(small_head(shapes[architecture])))
        for size in SIZES:
            expected[f"{architecture}/{size}"] = logits(model, architecture, size)
    base = small_head(shapes[SPLIT])
    model = timm.create_model(SPLIT, num_classes=NUM_CLASSES)
    split = timm.layers.convert_splitbn_model(timm.create_model(SPLIT, num_classes=NUM_CLASSES), 3)
    values = tensors(with_second_norms(base, 2))
    split.load_state_dict(values)  # strict: these are the names
    np.testing.assert_array_equal(logits(split, SPLIT, SPLIT_SIZE), expected[f"{SPLIT}/{SPLIT_SIZE}"])
    for number in range(2):
        part = f".aux_bn.{number}."
        others = {name.replace(part, "."): value for name, value in values.items() if part in name}
        model.load_state_dict({name: others.get(name, values[name]) for name in base})
        expected[f"{SPLIT}/aux_bn.{number}"] = logits(model, SPLIT, SPLIT_SIZE)
    np.savez_compressed(DATA / "logits.npz", **expected)
    for name, value in expected.items():
        print(name, "largest logit", np.abs(value).max().round(3))
    print("timm", timm.__version__, "torch", torch.__version__, "torchvision", torchvision.__version__)
    plain = timm.create_model("efficientnet_b0", num_classes=NUM_CLASSES)
    plain.load_state_dict(tensors(base))  # strict: the same names and shapes
    for size in SIZES:
        other = np.abs(logits(plain, SPLIT, size) - expected[f"{SPLIT}/{size}"]).max()
        print("plain efficientnet_b0 on the same values differs by", other.round(3), "at", size)


if __name__ == "__main__":
    main()
