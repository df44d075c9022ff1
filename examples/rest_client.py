"""Classify images with TensorFlow Serving over REST. Needs only Python.

    python examples/rest_client.py --server=localhost:8501 --model=advprop cat.jpg dog.png

Prints a line per image: its most likely classes with their probabilities.
"""

import argparse
import base64
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def predict(server: str, model: str, images: Sequence[bytes]) -> list[dict[str, Any]]:
    """The outputs for each encoded image: `top_labels`, `top_scores` and the others.

    Raises:
        RuntimeError: with the server's message, such as which element of the request is not an image.
    """
    instances = [{"images": {"b64": base64.b64encode(image).decode()}} for image in images]
    request = urllib.request.Request(
        f"http://{server}/v1/models/{model}:predict",
        data=json.dumps({"signature_name": "serving_bytes", "instances": instances}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["error"]) from error
    except urllib.error.URLError as error:
        raise RuntimeError(f"no response from {server}: {error.reason}") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Classify the files of the command line in one request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="localhost:8501", help="HOST:PORT of the REST interface")
    parser.add_argument("--model", default="advprop", help="the model's name on the server")
    parser.add_argument("images", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    try:
        predictions = predict(options.server, options.model, [path.read_bytes() for path in options.images])
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    for path, prediction in zip(options.images, predictions, strict=True):
        best = zip(prediction["top_labels"], prediction["top_scores"], strict=True)
        print(f"{path}: {', '.join(f'{label} {100 * score:.1f} %' for label, score in best)}")


if __name__ == "__main__":
    main()
