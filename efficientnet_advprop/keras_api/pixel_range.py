"""The range of a network's inputs, so that attacks work in pixels of [0, 255] whatever it is."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

Bound = float | tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class PixelRange:
    """The values of black and of white in a network's inputs, for all channels or one of each.

    Keras' networks take [0, 255] (EfficientNet, MobileNetV3, RegNet, ResNet-RS, ConvNeXt), [-1, 1] (MobileNetV2,
    ResNetV2, Xception, Inception, NASNet) or a range per channel (DenseNet, and ResNet50, whose channels are BGR).

    Args:
        low: black.
        high: white, above `low`.
    """

    low: Bound
    high: Bound

    def __post_init__(self) -> None:
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        if low.shape != high.shape or low.ndim > 1 or not np.all(np.isfinite([low, high])) or not np.all(low < high):
            raise ValueError(
                f"pixel_range ({self.low}, {self.high}) must be two finite numbers, or two tuples of one per channel, "
                "the first below the second"
            )

    @classmethod
    def of(cls, given: Any) -> "PixelRange":
        """A range from a pair (low, high) of numbers or of sequences of one number per channel.

        Raises:
            ValueError: for anything else.
        """
        if isinstance(given, cls):
            return given
        try:
            if isinstance(given, str):
                raise TypeError
            low, high = (np.asarray(bound, np.float64) for bound in given)
        except (TypeError, ValueError):
            raise ValueError(f"pixel_range {given!r} must be a pair of numbers, or of one number per channel") from None
        return cls(*(tuple(bound.tolist()) if bound.ndim else float(bound) for bound in (low, high)))

    def to_pixels(self, inputs: tf.Tensor) -> tf.Tensor:
        """Inputs [B, H, W, C] of the network, as float32 pixels."""
        return (tf.cast(inputs, tf.float32) - self._low) / self._per_pixel

    def from_pixels(self, pixels: tf.Tensor) -> tf.Tensor:
        """Pixels [B, H, W, C], as float32 inputs of the network."""
        return pixels * self._per_pixel + self._low

    @property
    def _low(self) -> tf.Tensor:
        return tf.constant(self.low, tf.float32)

    @property
    def _per_pixel(self) -> tf.Tensor:
        return tf.constant((np.asarray(self.high, np.float64) - self.low) / 255.0, tf.float32)
