"""TF1 checkpoints laid out as the official EfficientNet ones, and what is known of those (data/official_checkpoint)."""

import json
import zlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from efficientnet_advprop.models.weights.official import official_names
from tests.small import values

AVERAGE = "/ExponentialMovingAverage"
FACTS = Path(__file__).parent / "data" / "official_checkpoint"


def write_tf1(prefix: str | Path, tensors: dict[str, np.ndarray]) -> str:
    names = sorted(tensors)
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    return str(prefix)


def tensors_of_averages(averages: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What an official file holds: raw values, moving averages, RMSProp's slots, the step.

    All raw values are 7, so that one taken for an average shows.

    Args:
        averages: by the official name.
    """
    tensors = {"global_step": np.int64(5)}
    for name, average in averages.items():
        tensors[name] = np.full_like(average, 7)
        tensors[name + AVERAGE] = average
        if "moving_" not in name:
            tensors[name + "/RMSProp"] = tensors[name + "/RMSProp_1"] = np.ones_like(average)
    return tensors


def official_tensors(model: tf.keras.Model) -> dict[str, np.ndarray]:
    """An official file whose averages are the model's values."""
    variables = values(model)
    return tensors_of_averages({name: variables[path] for path, name in official_names(model).items()})


def official_shapes(network: str) -> dict[str, list[int]]:
    """Name and shape of every variable of the released checkpoint."""
    return json.loads((FACTS / f"{network}.json").read_text())


def pseudo_random_value(name: str, shape: list[int]) -> np.ndarray:
    """The fixed value of an official variable for which `b1_logits.npz` was computed.

    Standard normal numbers, seeded by the name, at a scale that keeps activations of order 1.
    """
    normal = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    match name.rpartition("/")[2]:
        case "gamma":
            return 1 + np.float32(0.1) * normal
        case "beta" | "bias" | "moving_mean":
            return np.float32(0.1) * normal
        case "moving_variance":
            return np.exp(np.float32(0.2) * normal)
        case "depthwise_kernel":
            fan_in = shape[0] * shape[1]
        case _:
            fan_in = np.prod(shape[:-1])
    return normal * np.float32(np.sqrt(1.5 / fan_in))


def pseudo_random_checkpoint(network: str) -> dict[str, np.ndarray]:
    """An official file whose averages have these values."""
    shapes = official_shapes(network)
    return tensors_of_averages({name: pseudo_random_value(name, shape) for name, shape in shapes.items()})


def b1_logits() -> list[tuple[np.ndarray, np.ndarray]]:
    """Images float32 [2, S, S, 3] in [0, 255] with the official B1's logits [2, 1000] on them, at S = 64 and 97."""
    expected = np.load(FACTS / "b1_logits.npz")
    pairs = []
    for size in (64, 97):
        normalized = np.random.default_rng(7).uniform(-1, 1, [2, size, size, 3]).astype(np.float32)
        pairs.append(((normalized + 1) * 127.5, expected[f"res{size}"]))
    return pairs
