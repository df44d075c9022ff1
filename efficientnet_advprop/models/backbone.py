"""A network without its classifier, as a layer of functional models."""

from typing import Any

import tensorflow as tf

from efficientnet_advprop.recipes import MAIN_BRANCH


def is_symbolic(images: Any) -> bool:
    """Whether this is a tensor of a functional model under construction."""
    return tf.is_tensor(images) and tf.keras.backend.is_keras_tensor(images)


@tf.keras.utils.register_keras_serializable(package="efficientnet_advprop")
class Backbone(tf.keras.layers.Layer):
    """The pooled features of a network; `network.features` of a symbolic tensor makes this layer.

    The network's classifier is one of its variables, but is not used.

    Args:
        network: a `Network` of `build_model`.
    """

    def __init__(self, network: tf.keras.Model, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.network = network

    def call(
        self, images: tf.Tensor, training: bool = False, branch: str = MAIN_BRANCH, statistics: str | None = None
    ) -> tf.Tensor:
        """[B, H, W, 3] -> [B, F]; arguments as in `Network.call`."""
        return self.network.features(images, training=training, branch=branch, statistics=statistics)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the network as its class and its configuration."""
        network = {"class": tf.keras.utils.get_registered_name(type(self.network)), **self.network.get_config()}
        return {**super().get_config(), "network": network}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Backbone":
        """The layer of `get_config`.

        Raises:
            ValueError: for a class of networks whose module is not imported.
        """
        network = dict(config["network"])
        name = network.pop("class")
        network_class = tf.keras.utils.get_registered_object(name)
        if network_class is None:
            raise ValueError(f"unknown class of networks {name}: import the module that defines it")
        return cls(**{**config, "network": network_class.from_config(network)})
