"""Warm-up requests, which TensorFlow Serving runs before it serves a model, so that the first request is not slow.

They are `tensorflow.serving.PredictionLog` records (`prediction_log.proto`, `predict.proto` and `model.proto` of
tensorflow/serving). The package tensorflow-serving-api has these messages, but requires TensorFlow from PyPI: on a
TPU VM pip would replace the special build of TensorFlow. So the few fields in use are declared here, in a separate
descriptor pool that cannot collide with that package's.
"""

import os
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_pb2

from efficientnet_advprop.export.description import Description

# The path that TensorFlow Serving expects.
WARMUP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")

_PACKAGE = "tensorflow.serving"
_Field = descriptor_pb2.FieldDescriptorProto
# Message -> (field, number, type or the name of a message, repeated).
_MESSAGES: dict[str, list[tuple[str, int, int | str, bool]]] = {
    "ModelSpec": [("name", 1, _Field.TYPE_STRING, False), ("signature_name", 3, _Field.TYPE_STRING, False)],
    # A map is encoded as a list of such entries.
    "InputsEntry": [("key", 1, _Field.TYPE_STRING, False), ("value", 2, ".tensorflow.TensorProto", False)],
    "PredictRequest": [
        ("model_spec", 1, f".{_PACKAGE}.ModelSpec", False),
        ("inputs", 2, f".{_PACKAGE}.InputsEntry", True),
    ],
    "PredictLog": [("request", 1, f".{_PACKAGE}.PredictRequest", False)],
    "PredictionLog": [("predict_log", 6, f".{_PACKAGE}.PredictLog", False)],
}


def write_warmup_requests(folder: str, description: Description) -> None:
    """Write a request with one image for each signature into a SavedModel's folder."""
    size = description.input_image_size
    shape = [1, size, size, 3]
    # A constant tensor is encoded by one value: a B7's image would take 4 MB otherwise.
    grey = {dtype: tf.make_tensor_proto(128, dtype, shape) for dtype in (tf.float32, tf.uint8)}
    jpeg = tf.io.encode_jpeg(np.full(shape[1:], 128, np.uint8)).numpy()
    images = {
        "serving_default": grey[tf.float32],
        "serving_uint8": grey[tf.uint8],
        "serving_bytes": tf.make_tensor_proto([jpeg]),
        "features": grey[tf.float32],
    }
    path = os.path.join(folder, WARMUP_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for signature, tensor in images.items():
            writer.write(_prediction_log(description.model, signature, tensor))


def _prediction_log(model: str, signature: str, images: tensor_pb2.TensorProto) -> bytes:
    log = new_message("PredictionLog")
    request = log.predict_log.request
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    entry = request.inputs.add(key="images")
    entry.value.ParseFromString(images.SerializeToString())  # the same type, but in this pool
    return log.SerializeToString()


def new_message(message: str) -> Any:
    """An empty protocol buffer of `_MESSAGES`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{message}"))()


def _make_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    added = set()

    def add_with_dependencies(file: Any) -> None:
        for dependency in file.dependencies:
            add_with_dependencies(dependency)
        if file.name not in added:
            added.add(file.name)
            pool.AddSerializedFile(file.serialized_pb)

    add_with_dependencies(tensor_pb2.DESCRIPTOR)
    ours = descriptor_pb2.FileDescriptorProto(
        name="efficientnet_advprop/prediction_log.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[tensor_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        message = ours.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            typed = {"type": kind} if isinstance(kind, int) else {"type": _Field.TYPE_MESSAGE, "type_name": kind}
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            message.field.add(name=field, number=number, label=label, **typed)
    pool.AddSerializedFile(ours.SerializeToString())
    return pool


_POOL = _make_pool()
