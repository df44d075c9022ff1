"""AdvProp for EfficientNet and ResNet in TensorFlow: training, evaluation and export.

"Adversarial Examples Improve Image Recognition" (CVPR 2020, arXiv 1911.09665).
"""

import importlib
from typing import Any

# Public names and their modules, imported on first access. An eager import would load TensorFlow for
# `efficientnet_advprop.recipes` too, which needs the standard library only.
_PUBLIC = {
    "build_model": "models",
    "load_official_checkpoint": "models.weights",
}

__all__ = ["build_model", "load_official_checkpoint"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
