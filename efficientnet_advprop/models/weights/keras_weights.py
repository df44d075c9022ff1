"""The initial weights of a network of `tf.keras.applications`: Keras' ImageNet weights, or a file of `save_weights`."""

import os

import tensorflow as tf

from efficientnet_advprop.models.keras_network import KerasNetwork, application, weighted_layers
from efficientnet_advprop.recipes import RecipeError, first_line, network_spec

IMAGENET = "imagenet"


def require_keras_weights(weights: str | None) -> None:
    """Refuse weights that are neither "imagenet" nor a file that exists.

    Raises:
        RecipeError: naming them.
    """
    if weights in (None, IMAGENET):
        return
    if not weights.endswith(".h5") or not os.path.isfile(weights):
        raise RecipeError(f"keras_weights {weights} is no file: give {IMAGENET}, or an .h5 file of save_weights")


def load_keras_weights(model: KerasNetwork, weights: str) -> None:
    """Load weights of Keras' network into the network, its norms into those of every branch; not the classifier.

    Args:
        model: the network.
        weights: "imagenet", which Keras downloads and keeps in ~/.keras/models; or an .h5 file that `save_weights` of
            Keras' network wrote, without its top or with one of 1000 classes.

    Raises:
        RecipeError: when there are none, or they are those of another network; nothing has changed then.
    """
    ours = model.stem.layers_by_branch()
    theirs = weighted_layers(_reference(model.spec.name, weights))[: len(ours)]
    shapes = [[tuple(variable.shape) for variable in layer.weights] for layer in theirs]
    if shapes != [[tuple(variable.shape) for variable in own[0].weights] for own in ours]:
        raise RecipeError(f"keras_weights {weights} are of another network than {model.spec.name}")
    for layer, own in zip(theirs, ours, strict=True):
        values = layer.get_weights()
        for partner in own:
            partner.set_weights(values)


def _reference(name: str, weights: str) -> tf.keras.Model:
    """Keras' own network with the weights."""
    size = network_spec(name).input_image_size
    build, arguments = application(name), {"input_shape": (size, size, 3)}
    if weights == IMAGENET:
        try:
            return build(include_top=False, weights=IMAGENET, **arguments)
        except Exception as error:  # the type that Keras raises when a download fails
            raise RecipeError(f"keras_weights {IMAGENET}: {first_line(error)}") from error
    require_keras_weights(weights)
    for include_top in (False, True):
        model = build(include_top=include_top, weights=None, **arguments)
        try:
            model.load_weights(weights)
            return model
        except (ValueError, KeyError, OSError, tf.errors.OpError) as error:
            reason = first_line(error)
    raise RecipeError(f"keras_weights {weights} are not those of tf.keras.applications' {model.name}: {reason}")
