"""AdvProp for EfficientNet and ResNet in TensorFlow: training, evaluation and export.

"Adversarial Examples Improve Image Recognition" (CVPR 2020, arXiv 1911.09665).
"""

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from typing import Any

# Public names and their modules, imported on first access. An eager import would load TensorFlow for
# `efficientnet_advprop.recipes` too, which needs the standard library only.
_PUBLIC = {
    "AdvProp": "keras_api",
    "AttackSpec": "recipes",
    "AuxBatchNormalization": "batch_norm",
    "PixelRange": "keras_api",
    "PlainModelCheckpoint": "keras_api",
    "adversarial_images": "keras_api",
    "attack_loss": "attacks",
    "auxiliary_view": "models.auxiliary_view",
    "build_model": "models",
    "fold_batch_norms": "models.folding",
    "load_official_checkpoint": "models.weights",
    "load_weights": "models.weights",
    "perturb": "attacks",
    "with_plain_norms": "models.plain_norms",
}

__all__ = list(_PUBLIC)


def _use_keras_2() -> None:
    """Make `tf.keras` Keras 2, which this package is written for; from TensorFlow 2.16 on that is tf-keras.

    TensorFlow reads the variable at the first access to `tf.keras`, not when it is imported.

    Raises:
        ImportError: if `tf.keras` is Keras 3 already, or tf-keras is missing.
    """
    try:
        keras = importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:
        return  # without TensorFlow: the recipes alone
    if int(keras.partition(".")[0]) < 3:
        return
    if importlib.util.find_spec("tf_keras") is None:
        raise ImportError(
            f"efficientnet_advprop needs Keras 2, and the installed keras is {keras}: "
            "pip install tf-keras, in the version of the installed TensorFlow"
        )
    setting = os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    tensorflow = sys.modules.get("tensorflow")
    if setting not in ("1", "true", "True"):
        raise ImportError(
            f"efficientnet_advprop needs Keras 2, and TF_USE_LEGACY_KERAS={setting} selects Keras 3: unset it"
        )
    if tensorflow is not None and not tensorflow.keras.Model.__module__.startswith("tf_keras."):
        raise ImportError(
            "efficientnet_advprop needs Keras 2, and tf.keras is Keras 3 since its first use: "
            "import efficientnet_advprop before that, or set TF_USE_LEGACY_KERAS=1"
        )


_use_keras_2()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
