"""SavedModel with one branch's batch norms, verified before it appears under its name."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

MAX_PROBABILITY_DIFFERENCE = 1e-5
SIGNATURE = "serving_default"
DESCRIPTION_FILE = "export.json"


class ExportError(RuntimeError):
    """What was written does not compute what the trained network computes; it was removed."""


class InferenceModule(tf.Module):
    """The variables and the serving function of a network, without the Keras object around them.

    Keras would save traced functions of every layer as well: four times the time and the size for B7.

    Args:
        model: a network whose only branch is the one to serve.
        description: what is known of it, for `json.loads(loaded.description().numpy())`.
    """

    def __init__(self, model: tf.keras.Model, description: Mapping[str, Any]) -> None:
        super().__init__()
        self.network_variables = model.weights_by_path()

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="images")], autograph=False)
        def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
            logits = model(images, training=False)
            return {
                "logits": logits,
                "probabilities": tf.nn.softmax(logits),
                "classes": tf.argmax(logits, axis=-1),
            }

        self.classify = classify
        self.description = tf.function(lambda: tf.constant(json.dumps(description)), input_signature=[])


def export_saved_model(
    trained: tf.keras.Model,
    make_model: Callable[[], tf.keras.Model],
    export_dir: str,
    example_images: np.ndarray,
    description: Mapping[str, Any],
) -> str:
    """Write `export_dir/VERSION` (the next free number) with the branches of `make_model` alone.

    Signature `serving_default`: `images` float32 [N, H, W, 3] in [0, 255] -> `logits` and `probabilities` [N, K],
    `classes` int64 [N]. The folder is written under a temporary name, loaded again and compared with the trained
    network on the examples; only then does it get its number, which TensorFlow Serving would pick up.

    Args:
        trained: the network to export, with any branches.
        make_model: the same network with the branch to serve alone; its variables are a part of `trained`'s, by path.
        export_dir: parent of the versions.
        example_images: float32 [N, H, W, 3] in [0, 255], to compare on.
        description: what is known of the network; goes into the graph, and into `export.json` beside it.

    Returns:
        The versioned folder.

    Raises:
        ExportError: when what was written differs from the trained network by more than 1e-5 in a probability, or holds
            other variables.
    """
    served = make_model()
    sources = trained.weights_by_path()
    for path, variable in served.weights_by_path().items():
        variable.assign(sources[path])
    tf.io.gfile.makedirs(export_dir)
    version = os.path.join(export_dir, str(_next_version(export_dir)))
    unfinished = os.path.join(export_dir, f".unfinished-{os.getpid()}")
    try:
        module = InferenceModule(served, description)
        tf.saved_model.save(module, unfinished, signatures={SIGNATURE: module.classify})
        # A network trained in bfloat16 computes something coarser than the float32 one that is served.
        reference = trained if trained.compute_dtype == served.compute_dtype else served
        expected = tf.nn.softmax(reference(example_images, training=False, branch=served.branches[0])).numpy()
        _verify(unfinished, expected, example_images, served)
        with tf.io.gfile.GFile(os.path.join(unfinished, DESCRIPTION_FILE), "w") as file:
            json.dump(description, file, indent=2)
        tf.io.gfile.rename(unfinished, version)
    finally:
        if tf.io.gfile.exists(unfinished):
            tf.io.gfile.rmtree(unfinished)
    return version


def _next_version(export_dir: str) -> int:
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(export_dir))  # gs:// lists folders with a slash
    return max((int(name) for name in names if name.isdigit()), default=0) + 1


def _verify(folder: str, expected: np.ndarray, images: np.ndarray, served: tf.keras.Model) -> None:
    loaded = tf.saved_model.load(folder)
    stored = [
        name
        for name, _ in tf.train.list_variables(os.path.join(folder, "variables", "variables"))
        if not name.startswith("_CHECKPOINTABLE_OBJECT_GRAPH")
    ]
    wanted = served.weights_by_path()
    if len(stored) != len(wanted) or set(loaded.network_variables) != set(wanted):
        raise ExportError(f"the SavedModel holds {len(stored)} variables instead of the network's {len(wanted)}")
    probabilities = loaded.signatures[SIGNATURE](images=tf.constant(images))["probabilities"]
    difference = float(np.max(np.abs(probabilities.numpy() - expected)))
    if not difference <= MAX_PROBABILITY_DIFFERENCE:
        raise ExportError(f"the SavedModel's probabilities differ by {difference:.2g} from the trained network's")
