"""Classify images with TensorFlow Serving over gRPC. Needs tensorflow-serving-api.

    python examples/grpc_client.py --server=localhost:8500 --model=advprop cat.jpg dog.png

Prints a line per image: its most likely classes with their probabilities.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow prints lines at its start

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


def predict(server: str, model: str, images: Sequence[bytes], timeout_seconds: float = 60) -> dict[str, np.ndarray]:
    """The outputs for N encoded images, by name: `top_labels` (bytes) and `top_scores` [N, 5], and the others.

    Raises:
        grpc.RpcError: with the server's message, such as which element of the request is not an image.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "serving_bytes"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(list(images), tf.string, [len(images)]))
    with grpc.insecure_channel(server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout_seconds)
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Classify the files of the command line in one request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="localhost:8500", help="HOST:PORT of the gRPC interface")
    parser.add_argument("--model", default="advprop", help="the model's name on the server")
    parser.add_argument("images", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    try:
        outputs = predict(options.server, options.model, [path.read_bytes() for path in options.images])
    except grpc.RpcError as error:
        sys.exit(f"error: {error.details()}")
    except OSError as error:
        sys.exit(f"error: {error}")
    for path, labels, scores in zip(options.images, outputs["top_labels"], outputs["top_scores"], strict=True):
        best = zip(labels, scores, strict=True)
        print(f"{path}: {', '.join(f'{label.decode()} {100 * score:.1f} %' for label, score in best)}")


if __name__ == "__main__":
    main()
