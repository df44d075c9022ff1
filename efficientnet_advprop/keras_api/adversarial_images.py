"""Adversarial images of any Keras model."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.attacks import perturb
from efficientnet_advprop.keras_api.checks import warn_of_range, warn_of_small_attack
from efficientnet_advprop.keras_api.example_loss import ExampleLoss
from efficientnet_advprop.keras_api.pixel_range import PixelRange
from efficientnet_advprop.randomness import fold, run_seed
from efficientnet_advprop.recipes import AttackSpec


def adversarial_images(
    model: tf.keras.Model,
    images: tf.Tensor,
    labels: Any,
    attack: AttackSpec,
    loss: Any = None,
    pixel_range: Sequence[Any] | PixelRange = (0, 255),
    seed: int = 0,
) -> tf.Tensor:
    """Images perturbed to increase a model's loss, float32 [B, H, W, C] in the range of the model.

    Args:
        model: any Keras model, called with training=False.
        images: [B, H, W, C] in the range of the model.
        labels: as the loss takes them.
        attack: its lengths are pixels of [0, 255] whatever the range.
        loss: as for `Model.compile`; None is what the model was compiled with, its weights of losses too.
        pixel_range: black and white in the model's inputs, as for `AdvProp`.
        seed: of random starts and random targets.

    Raises:
        ValueError: without a loss, for a loss without a value for each example, for an attack that is not possible.
    """
    attack.validate()
    attack.require_running_statistics(model.name)
    loss_weights = None
    if loss is None:
        loss, loss_weights = getattr(model, "loss", None), (model.get_compile_config() or {}).get("loss_weights")
    example_loss = ExampleLoss(loss, loss_weights, model)
    if attack.perturbs and attack.target != "untargeted" and not example_loss.categorical:
        raise ValueError(f"attack target {attack.target!r} needs one output and a categorical cross-entropy as loss")
    inputs, key = PixelRange.of(pixel_range), run_seed(seed)

    def predict(pixels: tf.Tensor) -> Any:
        return model(inputs.from_pixels(pixels), training=False)

    warn_of_range(images, inputs)
    warn_of_small_attack(attack)
    loss_fn = example_loss.attacked(predict, labels, attack, fold(key, 0))
    return inputs.from_pixels(perturb(loss_fn, inputs.to_pixels(images), attack, fold(key, 1)))
