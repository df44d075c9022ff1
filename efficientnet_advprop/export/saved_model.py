"""Export of a SavedModel for serving, with the batch norms of one branch."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import preprocess_eval
from efficientnet_advprop.export.description import CARD_FILE, DESCRIPTION_FILE, model_card
from efficientnet_advprop.export.encoded_images import MAX_IMAGE_PIXELS
from efficientnet_advprop.export.served import ExportError, ServedNetwork
from efficientnet_advprop.export.signatures import INTERFACE, ServingModule
from efficientnet_advprop.export.warmup import write_warmup_requests
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.paths import plain_path

LABELS_FILE = "labels.txt"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_COMPARED_IN_OTHER_FORMS = 2  # images; the signatures differ only before the network


def write_saved_model(served: ServedNetwork, folder: str) -> None:
    """Write a SavedModel, its warm-up requests, `export.json` and `model_card.md`, and compare it with the network.

    Raises:
        ExportError: when a probability differs by more than 1e-5 from the trained network's, or the variables differ.
    """
    description = dataclasses.replace(served.description, max_image_pixels=MAX_IMAGE_PIXELS)
    served = dataclasses.replace(served, description=description)
    with tempfile.TemporaryDirectory() as assets:
        labels_path = write_labels(served, assets)
        module = ServingModule(served, labels_path)
        tf.saved_model.save(module, folder, signatures=module.serving_functions)
    write_warmup_requests(folder, description)
    write_atomic(os.path.join(folder, DESCRIPTION_FILE), description.to_json())
    write_atomic(os.path.join(folder, CARD_FILE), model_card(description, INTERFACE))
    loaded = tf.saved_model.load(plain_path(folder))
    _require_variables(folder, loaded.network_variables, served)
    _require_equal_signatures(loaded.signatures, served)


def write_labels(served: ServedNetwork, folder: str) -> str:
    """Write the class names, one per line; returns the file's path."""
    path = os.path.join(folder, LABELS_FILE)
    names = (" ".join(name.split()) for name in served.description.class_names)
    write_atomic(path, "".join(f"{name}\n" for name in names))
    return path


def stored_variables(folder: str) -> dict[str, list[int]]:
    """Shapes by name of the variables in a SavedModel."""
    listed = tf.train.list_variables(plain_path(os.path.join(folder, "variables", "variables")))
    return {name: shape for name, shape in listed if not name.startswith(_OBJECT_GRAPH)}


def _require_variables(folder: str, loaded: Mapping[str, tf.Variable], served: ServedNetwork) -> None:
    stored, expected = stored_variables(folder), served.model.weights_by_path()
    if len(stored) != len(expected) or set(loaded) != set(expected):
        raise ExportError(f"the SavedModel holds {len(stored)} variables instead of the network's {len(expected)}")


def _require_equal_signatures(signatures: Mapping[str, tf.types.experimental.ConcreteFunction], served: ServedNetwork):
    def network(images: tf.Tensor) -> np.ndarray:
        return tf.nn.softmax(served.outputs(images)[1]).numpy()

    probabilities = signatures["serving_default"](images=tf.constant(served.examples))["probabilities"]
    served.require_equal(probabilities, "serving_default")
    pixels = np.clip(np.round(served.examples[:_COMPARED_IN_OTHER_FORMS]), 0, 255).astype(np.uint8)
    probabilities = signatures["serving_uint8"](images=tf.constant(pixels))["probabilities"]
    served.require_equal(probabilities, "serving_uint8", network(tf.cast(pixels, tf.float32)))
    encoded = tf.stack([tf.io.encode_png(image) for image in pixels])
    description = served.description
    evaluated = tf.stack(
        [
            preprocess_eval(image, description.input_image_size, description.eval_crop, description.resize)
            for image in encoded
        ]
    )
    probabilities = signatures["serving_bytes"](images=encoded)["probabilities"]
    served.require_equal(probabilities, "serving_bytes", network(evaluated))
