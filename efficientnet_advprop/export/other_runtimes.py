"""Export to TensorFlow Lite and ONNX, each compared with the SavedModel on the same images."""

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.export.description import CARD_FILE, DESCRIPTION_FILE, model_card
from efficientnet_advprop.export.saved_model import write_labels, write_saved_model
from efficientnet_advprop.export.served import ServedNetwork
from efficientnet_advprop.export.versions import bytes_of
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.paths import plain_path

# The newest opset of tf2onnx 1.17.
_ONNX_OPSET = 18
_TIMED_CALLS = 10

# Probabilities [1, K] of an image [1, H, W, 3] in [0, 255].
Predictor = Callable[[np.ndarray], np.ndarray]


def write_tflite(served: ServedNetwork, folder: str) -> list[dict[str, Any]]:
    """Write `float16.tflite` (float16 weights) and `int8.tflite` (int8 weights, dynamic-range quantisation).

    Both take one image of the trained size, because GPU and NNAPI delegates need static shapes.

    Returns:
        The comparison with the SavedModel: a row for the SavedModel, then one per file.
    """
    predictors = {}
    with tempfile.TemporaryDirectory() as source:
        module = tf.Module()
        module.variables_of_network = served.model.weights_by_path()
        module.predict = _prediction_function(served, batch_size=1)
        tf.saved_model.save(module, source, signatures=module.predict)
        for name, supported_types in (("float16", [tf.float16]), ("int8", [])):
            converter = tf.lite.TFLiteConverter.from_saved_model(source)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = supported_types
            content = converter.convert()
            path = os.path.join(folder, f"{name}.tflite")
            write_atomic(path, content)
            predictors[path] = _tflite_predictor(content)
    _write_texts(served, folder, batch_size="1")
    return _compare(served, predictors)


def write_onnx(served: ServedNetwork, folder: str) -> list[dict[str, Any]]:
    """Write `model.onnx`, for any number of images of the trained size.

    Returns:
        The comparison with the SavedModel: a row for the SavedModel, then one for the file.
    """
    import onnxruntime
    import tf2onnx

    function = _prediction_function(served, batch_size=None)
    model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=_ONNX_OPSET)
    content = model.SerializeToString()
    path = os.path.join(folder, "model.onnx")
    write_atomic(path, content)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    _write_texts(served, folder, batch_size="N")
    return _compare(served, {path: lambda image: session.run(["probabilities"], {"images": image})[0]})


def _prediction_function(served: ServedNetwork, batch_size: int | None) -> tf.types.experimental.GenericFunction:
    """The network without the input checks, which other runtimes do not support."""
    size = served.description.input_image_size
    spec = tf.TensorSpec([batch_size, size, size, 3], tf.float32, name="images")

    @tf.function(input_signature=[spec], autograph=False)
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        _, logits = served.outputs(images)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    return predict


def _tflite_predictor(content: bytes) -> Predictor:
    with warnings.catch_warnings():
        # From 2.20 on it warns that it will be removed; the model's users choose their runtime themselves.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated", UserWarning)
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=os.cpu_count())
    predict = interpreter.get_signature_runner()
    return lambda image: predict(images=image)["probabilities"]


def _compare(served: ServedNetwork, predictors: Mapping[str, Predictor]) -> list[dict[str, Any]]:
    """A row per file: difference of its probabilities from the SavedModel's, size, and time per image."""
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(served, folder)
        signature = tf.saved_model.load(plain_path(folder)).signatures["serving_default"]

        def saved_model(image: np.ndarray) -> np.ndarray:
            return signature(images=tf.constant(image))["probabilities"].numpy()

        sizes = {"SavedModel": bytes_of(folder)} | {path: bytes_of(path) for path in predictors}
        all_predictors = {"SavedModel": saved_model, **predictors}
        images = [image[np.newaxis] for image in served.examples]
        outputs = {
            name: np.concatenate([predict(image) for image in images]) for name, predict in all_predictors.items()
        }
        milliseconds = _latencies(all_predictors, images[0])
    expected = outputs["SavedModel"]
    return [
        {
            "file": os.path.basename(name),
            "largest_probability_difference": float(np.max(np.abs(probabilities - expected))),
            "top1_agreement": float(np.mean(np.argmax(probabilities, -1) == np.argmax(expected, -1))),
            "megabytes": sizes[name] / 1e6,
            "milliseconds_per_image": milliseconds[name],
        }
        for name, probabilities in outputs.items()
    ]


def _latencies(predictors: Mapping[str, Predictor], image: np.ndarray) -> dict[str, float]:
    """Median milliseconds of a call. Calls are interleaved, so that other load affects all predictors alike."""
    times: dict[str, list[float]] = {name: [] for name in predictors}
    for _ in range(_TIMED_CALLS):
        for name, predict in predictors.items():
            start = time.perf_counter()
            predict(image)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def _write_texts(served: ServedNetwork, folder: str, batch_size: str) -> None:
    description = served.description
    size, num_classes = description.input_image_size, len(description.class_names)
    interface = (
        f"`images` float32 [{batch_size}, {size}, {size}, 3], pixels in [0, 255] -> `logits` and `probabilities` "
        f"float32 [{batch_size}, {num_classes}].\n`labels.txt` names the classes. Inputs are not checked."
    )
    write_labels(served, folder)
    write_atomic(os.path.join(folder, DESCRIPTION_FILE), description.to_json())
    write_atomic(os.path.join(folder, CARD_FILE), model_card(description, interface))
