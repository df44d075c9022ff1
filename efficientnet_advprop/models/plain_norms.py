"""A branch of a functional model as a plain Keras model, which is saved, loaded and served without this package."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models.auxiliary_view import is_graph
from efficientnet_advprop.recipes import MAIN_BRANCH

_ALLOWED = "only layers of functional and sequential models are replaced"
_Norms = dict[int, tf.keras.layers.BatchNormalization]  # by the identity of the layer that a norm stands for


def with_plain_norms(model: tf.keras.Model) -> tf.keras.Model:
    """A copy of the model with a BatchNormalization in place of every AuxBatchNormalization.

    Each has the name of the old layer and holds the values of the branch that the model calls. The copy shares no
    variable with the model and is not compiled.

    Args:
        model: a functional or sequential model, which may contain others.

    Raises:
        ValueError: for a subclassed model, and for an AuxBatchNormalization that is called with several branches or
            with `statistics`, or that lies inside of a layer; the message names it.
    """
    norms: _Norms = {}
    config = _plain_config(model, norms)
    for layer in model.layers:
        if any(isinstance(part, AuxBatchNormalization) and id(part) not in norms for part in layer.submodules):
            raise ValueError(f"an AuxBatchNormalization inside of layer {layer.name} cannot be replaced: {_ALLOWED}")
    kind = tf.keras.Sequential if isinstance(model, tf.keras.Sequential) else tf.keras.Model
    # The user's layers need not be registered.
    classes = {type(part).__name__: type(part) for part in model.submodules if isinstance(part, tf.keras.layers.Layer)}
    with tf.keras.utils.custom_object_scope(classes):
        plain = kind.from_config(config)
    _copy_values(model, plain, norms)
    return plain


def _plain_config(model: tf.keras.Model, norms: _Norms) -> dict[str, Any]:
    """The model's configuration with plain norms; the branches' norms are added to `norms`."""
    if not is_graph(model):
        raise ValueError(f"model {model.name} is subclassed: {_ALLOWED}")
    config, layers = model.get_config(), {layer.name: layer for layer in model.layers}
    for entry in config["layers"]:
        layer = layers.get(entry["config"]["name"])  # a sequential model does not list its InputLayer
        if isinstance(layer, AuxBatchNormalization):
            calls = [reference[3] for call in entry.get("inbound_nodes", []) for reference in call]
            norm = norms[id(layer)] = layer.norm(_branch_of_calls(layer, calls))
            settings = {**norm.get_config(), "name": layer.name, "trainable": layer.trainable}
            plain = tf.keras.layers.BatchNormalization.from_config(settings)
            entry.pop("build_config", None)
            entry |= tf.keras.utils.serialize_keras_object(plain)
            entry["config"]["synchronized"] = layer.synchronized  # which Keras leaves out
        elif is_graph(layer):
            entry["config"] = _plain_config(layer, norms)
    return config


def _branch_of_calls(layer: AuxBatchNormalization, calls: list[dict[str, Any]]) -> str:
    """The branch of a layer's calls in one model; removes the arguments that a plain norm does not have."""
    branches = {call.pop("branch", MAIN_BRANCH) for call in calls} or {MAIN_BRANCH}
    if len(branches) > 1:
        raise ValueError(
            f"{layer.name} is called with the branches {', '.join(sorted(branches))}: make a model for each branch"
        )
    statistics = {call.pop("statistics", None) for call in calls} - {None}
    if statistics:
        raise ValueError(
            f"{layer.name} is called with statistics={min(statistics)!r}, which a plain norm does not have"
        )
    return branches.pop()


def _copy_values(model: tf.keras.Model, plain: tf.keras.Model, norms: Mapping[int, tf.keras.layers.Layer]) -> None:
    for layer in model.layers:
        copy = plain.get_layer(layer.name)
        if is_graph(layer):
            _copy_values(layer, copy, norms)
        else:
            copy.set_weights(norms.get(id(layer), layer).get_weights())
