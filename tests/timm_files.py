"""Safetensors files of timm's names, and the `config.json` that the Hugging Face hub has beside them."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from safetensors.numpy import save_file

from efficientnet_advprop.models.weights.timm_names import timm_architecture, timm_names
from tests.small import values

COUNTER = ".num_batches_tracked"


def write(folder: Path, tensors: dict[str, np.ndarray], config: dict | None = None) -> str:
    """`model.safetensors`, and the config if one is given; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.array(value, order="C") for name, value in tensors.items()}, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def config_of(architecture: str, num_classes: int, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)) -> dict:
    """As timm writes it, shortened."""
    pretrained = {
        "tag": "in1k",
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "mean": list(mean),
        "std": list(std),
        "num_classes": num_classes,
    }
    return {
        "architecture": architecture,
        "num_classes": num_classes,
        "global_pool": "avg",
        "pretrained_cfg": pretrained,
    }


def advprop_config(model: tf.keras.Model) -> dict:
    """That of weights of AdvProp for a network."""
    return config_of(timm_architecture(model.spec.name), model.num_classes, (0.5,) * 3, (0.5,) * 3)


def tensors_of(model: tf.keras.Model, num_norms: int = 1) -> dict[str, np.ndarray]:
    """A network's values under timm's names and in PyTorch's order, with a counter at every batch norm."""
    ours, tensors = values(model), {}
    for path, name in timm_names(model, num_norms).items():
        value = ours[path]
        if value.ndim == 4:  # [h, w, I, O] -> [O, I, h, w]; depthwise [h, w, C, 1] -> [C, 1, h, w]
            value = np.moveaxis(value, (2, 3), (0, 1) if "conv_dw" in name else (1, 0))
        tensors[name] = value.T if value.ndim == 2 else value
        if name.endswith(".running_var"):
            tensors[name.replace(".running_var", COUNTER)] = np.array(5)
    return tensors
