"""Classes of norms by name, as a saved `AdvProp` holds them."""

from typing import Any

import tensorflow as tf

from efficientnet_advprop.models.auxiliary_view import BATCH_NORMS, OTHER_NORMS


def name_of_class(kind: type) -> str:
    """The name under which a class is registered, or its own."""
    return tf.keras.saving.get_registered_name(kind)


def class_named(name: str, custom_objects: dict[str, Any] | None) -> type:
    """The class of a name of `name_of_class`.

    Raises:
        ValueError: for a class that is neither registered, nor in `custom_objects`, nor one of Keras' norms.
    """
    registered = tf.keras.saving.get_registered_object(name, custom_objects)
    if registered is not None:
        return registered
    builtin = {kind.__name__: kind for kind in (*BATCH_NORMS, *OTHER_NORMS)}
    if name not in builtin:
        raise ValueError(f"unknown class of norms {name}: register it, or give it in custom_objects")
    return builtin[name]
