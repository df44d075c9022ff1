"""AdvProp for EfficientNet and ResNet in TensorFlow: training, evaluation and export.

"Adversarial Examples Improve Image Recognition" (CVPR 2020, arXiv 1911.09665).
"""

import importlib
from typing import Any

# Public names by module, imported when asked for: recipes, which need the standard library alone, would otherwise bring
# TensorFlow with them.
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
