"""AutoAugment and RandAugment: which operations are applied to an image, and at which magnitude.

Sources: Cubuk et al., CVPR 2019 and CVPR Workshops 2020; policies, levels and constants of `autoaugment.py` in
tensorflow/tpu, models/official/efficientnet.

Drawing and applying are separate. Drawing looks up a few numbers in constant tables. Applying is one switch over the
operations per step, so that only the drawn operations run.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.augment.operations import OPERATIONS, apply
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import DataSpec

# (uint8 [H, W, 3], seed int32 [2]) -> uint8 [H, W, 3]
Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_MAX_LEVEL = 10  # the papers' scale; RandAugment's magnitude may exceed it

# `policy_v0`: each line is a sub-policy of two steps, "operation probability level".
_POLICY_V0 = """
Equalize    0.8 1    ShearY       0.8 4
Color       0.4 9    Equalize     0.6 3
Color       0.4 1    Rotate       0.6 8
Solarize    0.8 3    Equalize     0.4 7
Solarize    0.4 2    Solarize     0.6 2
Color       0.2 0    Equalize     0.8 8
Equalize    0.4 8    SolarizeAdd  0.8 3
ShearX      0.2 9    Rotate       0.6 8
Color       0.6 1    Equalize     1.0 2
Invert      0.4 9    Rotate       0.6 0
Equalize    1.0 9    ShearY       0.6 3
Color       0.4 7    Equalize     0.6 0
Posterize   0.4 6    AutoContrast 0.4 7
Solarize    0.6 8    Color        0.6 9
Solarize    0.2 4    Rotate       0.8 9
Rotate      1.0 7    TranslateY   0.8 9
ShearX      0.0 0    Solarize     0.8 4
ShearY      0.8 0    Color        0.6 4
Color       1.0 0    Rotate       0.6 2
Equalize    0.8 4    Equalize     0.0 8
Equalize    1.0 4    AutoContrast 0.6 2
ShearY      0.4 7    SolarizeAdd  0.6 7
Posterize   0.8 2    Solarize     0.6 10
Solarize    0.6 8    Equalize     0.6 1
Color       0.8 6    Rotate       0.4 5
"""

# Operations whose argument is negated with probability 0.5.
_SIGNED = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")

# Arguments with which an operation is the identity: such a step is not run.
_NEUTRAL = {
    **dict.fromkeys((*_SIGNED, "SolarizeAdd", "Cutout"), 0.0),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), 1.0),
    "Posterize": 8.0,
}
_IDENTITY = len(OPERATIONS)  # the index of a step without an operation

_CHOICE, _PROBABILITY, _SIGN, _OPERATION = range(4)  # places in the seed


@dataclasses.dataclass(frozen=True)
class SubPolicyStep:
    """One of a sub-policy's two steps: `operation` is applied with `probability` at `level` (0 to 10)."""

    operation: str
    probability: float
    level: int


def _read_policy(table: str) -> tuple[tuple[SubPolicyStep, SubPolicyStep], ...]:
    rows = (line.split() for line in table.strip().splitlines())
    return tuple((SubPolicyStep(a, float(p), int(m)), SubPolicyStep(b, float(q), int(n))) for a, p, m, b, q, n in rows)


POLICY_V0 = _read_policy(_POLICY_V0)


@dataclasses.dataclass(frozen=True)
class PixelConstants:
    """Arguments in pixels at level 10 for images of 224 px: Translate's distance, half the side of Cutout's square."""

    translate_px: float
    cutout_px: float

    def scaled(self, factor: float) -> "PixelConstants":
        """The constants for images larger by this factor."""
        return PixelConstants(self.translate_px * factor, self.cutout_px * factor)


AUTOAUGMENT_PIXELS = PixelConstants(translate_px=250.0, cutout_px=100.0)
RANDAUGMENT_PIXELS = PixelConstants(translate_px=100.0, cutout_px=40.0)


def level_to_argument(name: str, level: float, pixels: PixelConstants) -> float:
    """An operation's argument at a level, as `apply` takes it, before any negation; 0 if it has none."""
    fraction = level / _MAX_LEVEL
    if name in ("Color", "Contrast", "Brightness", "Sharpness"):
        return fraction * 1.8 + 0.1
    whole = {"Posterize": 4, "Solarize": 256, "SolarizeAdd": 110, "Cutout": pixels.cutout_px}
    if name in whole:
        return float(int(fraction * whole[name]))
    real = {"Rotate": 30.0, "ShearX": 0.3, "ShearY": 0.3}
    translate = dict.fromkeys(("TranslateX", "TranslateY"), pixels.translate_px)
    return fraction * (real | translate).get(name, 0.0)


class Steps(NamedTuple):
    """The operations drawn for one image.

    Attributes:
        operations: int32 [S], indices into `OPERATIONS`; len(OPERATIONS) is the identity.
        arguments: float32 [S], in the operations' units.
    """

    operations: tf.Tensor
    arguments: tf.Tensor


def draw_autoaugment(seed: tf.Tensor, pixel_scale: float = 1.0) -> Steps:
    """Draw two steps: those of one of the 25 sub-policies, each kept with its probability.

    Args:
        seed: int32 [2].
        pixel_scale: factor on the constants in pixels: the size of the image over 224.
    """
    pixels = AUTOAUGMENT_PIXELS.scaled(pixel_scale)
    tables = [_step_row(step.operation, step.level, pixels) for pair in POLICY_V0 for step in pair]
    operations, arguments = (np.reshape(column, [-1, 2]) for column in zip(*tables, strict=True))
    probabilities = np.array([[step.probability for step in pair] for pair in POLICY_V0], np.float32)
    choice = tf.random.stateless_uniform([], fold(seed, _CHOICE), 0, len(POLICY_V0), tf.int32)
    applied = tf.random.stateless_uniform([2], fold(seed, _PROBABILITY)) < tf.gather(probabilities, choice)
    drawn = tf.gather(operations.astype(np.int32), choice)
    return _signed(
        tf.where(applied, drawn, _IDENTITY), tf.gather(arguments.astype(np.float32), choice), fold(seed, _SIGN)
    )


def draw_randaugment(seed: tf.Tensor, num_layers: int = 2, magnitude: float = 10, pixel_scale: float = 1.0) -> Steps:
    """Draw `num_layers` steps, each one of the sixteen operations, all at the same level and always applied.

    The official code also draws a probability, but does not use it.

    Args:
        seed: int32 [2].
        num_layers: number of steps S.
        magnitude: the level.
        pixel_scale: factor on the constants in pixels: the size of the image over 224.
    """
    pixels = RANDAUGMENT_PIXELS.scaled(pixel_scale)
    operations, arguments = zip(*(_step_row(name, magnitude, pixels) for name in OPERATIONS), strict=True)
    choice = tf.random.stateless_uniform([num_layers], fold(seed, _CHOICE), 0, len(OPERATIONS), tf.int32)
    return _signed(
        tf.gather(np.array(operations, np.int32), choice),
        tf.gather(np.array(arguments, np.float32), choice),
        fold(seed, _SIGN),
    )


def _step_row(name: str, level: float, pixels: PixelConstants) -> tuple[int, float]:
    """(index of the operation, argument) of a step; the identity's index when the argument is neutral."""
    argument = level_to_argument(name, level, pixels)
    return _IDENTITY if _NEUTRAL.get(name) == argument else OPERATIONS.index(name), argument


def _signed(operations: tf.Tensor, arguments: tf.Tensor, seed: tf.Tensor) -> Steps:
    may_negate = tf.gather([name in _SIGNED for name in OPERATIONS] + [False], operations)
    negative = tf.random.stateless_uniform(operations.shape, seed) < 0.5
    return Steps(operations, tf.where(may_negate & negative, -arguments, arguments))


def apply_steps(image: tf.Tensor, steps: Steps, seed: tf.Tensor) -> tf.Tensor:
    """Apply the steps to an image, uint8 [H, W, 3]; an operation that is random itself draws from `seed`, int32 [2]."""
    for index in range(steps.operations.shape[0]):
        step = functools.partial(apply, image=image, argument=steps.arguments[index], seed=fold(seed, index))
        branches = [functools.partial(step, name) for name in OPERATIONS]
        image = tf.switch_case(steps.operations[index], [*branches, functools.partial(tf.identity, image)])
    return image


def autoaugment(image: tf.Tensor, seed: tf.Tensor, pixel_scale: float = 1.0) -> tf.Tensor:
    """Apply AutoAugment's `policy_v0` to an image, uint8 [H, W, 3]; arguments as in `draw_autoaugment`."""
    return apply_steps(image, draw_autoaugment(seed, pixel_scale), fold(seed, _OPERATION))


def randaugment(
    image: tf.Tensor, seed: tf.Tensor, num_layers: int = 2, magnitude: float = 10, pixel_scale: float = 1.0
) -> tf.Tensor:
    """Apply RandAugment to an image, uint8 [H, W, 3]; arguments as in `draw_randaugment`."""
    return apply_steps(image, draw_randaugment(seed, num_layers, magnitude, pixel_scale), fold(seed, _OPERATION))


def augmentation_of(spec: DataSpec) -> Augmentation | None:
    """The recipe's augmentation of a training image after crop and flip; None if it has none."""
    if spec.augment_name == "autoaugment":
        return functools.partial(autoaugment, pixel_scale=spec.augment_pixel_scale)
    if spec.augment_name == "randaugment":
        return functools.partial(
            randaugment,
            num_layers=spec.randaug_num_layers,
            magnitude=spec.randaug_magnitude,
            pixel_scale=spec.augment_pixel_scale,
        )
    return None
