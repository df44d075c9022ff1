"""What `AdvProp` refuses, and what it warns of."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.keras_api.pixel_range import PixelRange
from efficientnet_advprop.recipes import CROSS_ENTROPY, IMAGES_VIEW, AttackSpec, Term, about_small_epsilon

_LEAST_SPAN_PX = 8.0  # images in [0, 1] span 1 px of (0, 255)
_MOST_OUTSIDE_PX = 32.0  # bicubic resizing overshoots by less


def require_images(model: tf.keras.Model) -> None:
    """Refuse a model whose inputs are no images."""
    inputs = getattr(model, "inputs", None) or []
    shapes = [f"{tensor.dtype.name} {tensor.shape}" for tensor in inputs]
    if inputs and (len(inputs) != 1 or inputs[0].shape.rank != 4 or not inputs[0].dtype.is_floating):
        raise ValueError(
            f"{model.name} takes {', '.join(shapes)}: AdvProp needs one input of floating-point images [B, H, W, C]"
        )


def require_pixels(pixel_range: PixelRange) -> None:
    """Refuse a range for a network of ours."""
    if pixel_range != PixelRange(0, 255):
        raise ValueError(
            f"pixel_range ({pixel_range.low}, {pixel_range.high}): networks of build_model take pixels in (0, 255)"
        )


def warn_of_bfloat16(model: tf.keras.Model) -> None:
    """Warn of a model that rounds its inputs to bfloat16."""
    first = next((layer for layer in model.layers if not isinstance(layer, tf.keras.layers.InputLayer)), None)
    if first is not None and first.compute_dtype == "bfloat16":
        warnings.warn(
            f"{model.name} casts its inputs to bfloat16 in {first.name!r}: with 8 significant bits a perturbation of a "
            "pixel or two is lost; give the layers before the first convolution dtype='float32'",
            stacklevel=3,
        )


def warn_of_range(inputs: Any, pixel_range: PixelRange) -> None:
    """Warn of arrays of images that do not look as if they were in this range.

    An attack clips images to the range, and measures its lengths by it. Data sets are not read for this.
    """
    images = inputs.get(IMAGES_VIEW) if isinstance(inputs, Mapping) else inputs
    if not isinstance(images, np.ndarray | tf.Tensor) or not len(images):
        return
    pixels = pixel_range.to_pixels(images[:256]).numpy()
    outside = max(-pixels.min(), pixels.max() - 255)
    if pixels.max() - pixels.min() < _LEAST_SPAN_PX or outside > _MOST_OUTSIDE_PX:
        values = np.asarray(images[:256])
        warnings.warn(
            f"the images have values from {values.min():g} to {values.max():g}, and pixel_range is "
            f"({pixel_range.low}, {pixel_range.high}): attacks clip images to that range and measure by it; "
            "give the range of these images, or scale them to it",
            stacklevel=3,
        )


def warn_of_small_attack(attack: AttackSpec) -> None:
    """Warn of an attack whose lengths seem to be on the scale of [0, 1]."""
    if attack.perturbs and (warning := about_small_epsilon("epsilon_px", attack.epsilon_px)):
        warnings.warn(warning, stacklevel=3)


def warn_of_train_step(model: tf.keras.Model) -> None:
    """Warn of a model whose class trains in a way of its own."""
    if type(model).train_step is not tf.keras.Model.train_step:
        warnings.warn(
            f"the train_step of {type(model).__name__} is not used: AdvProp trains {model.name} by the compiled loss",
            stacklevel=3,
        )


def needs_classes(term: Term) -> bool:
    """Whether the loss or the attack of a term needs predicted classes."""
    return term.loss != CROSS_ENTROPY or bool(
        term.attack and term.attack.perturbs and term.attack.target != "untargeted"
    )
