"""Checkpoints of the plain model while `AdvProp` trains it."""

import tensorflow as tf

from efficientnet_advprop.keras_api.advprop import AdvProp


class PlainModelCheckpoint(tf.keras.callbacks.ModelCheckpoint):
    """Keras' ModelCheckpoint, of the plain model inside `AdvProp`: any format, loaded without this package.

    The optimizer is AdvProp's and not in these files. A model that was compiled before saves that state of its own.
    """

    def set_model(self, model: tf.keras.Model) -> None:
        """Save the model inside."""
        super().set_model(model.model if isinstance(model, AdvProp) else model)
