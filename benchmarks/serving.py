"""Latency and throughput of an exported SavedModel relative to one of Keras' own network, measured in one run.

    python -m benchmarks.serving --markdown=docs/serving_latency.md

Both are B0 with 1,000 classes and random weights, exported with `tf.saved_model.save`, loaded again and called through
their signatures with the same float images. Ours also checks its input and names the most likely classes. The calls are
interleaved, so that a change in the machine's load affects both. Ratios are those of medians.
"""

import datetime
import os
import platform
import statistics
import tempfile

import numpy as np
import tabulate
import tensorflow as tf
from absl import app, flags as absl_flags

from benchmarks.timing import Step, take_turns
from efficientnet_advprop.data import class_names
from efficientnet_advprop.export import Description, code_commit, export_network, served_network
from efficientnet_advprop.models import build_model

_BATCH_SIZES = absl_flags.DEFINE_list("batch_sizes", ["1", "16"], "Images per request.")
_ROUNDS = absl_flags.DEFINE_integer("rounds", 250, "Rounds at batch size 1; fewer for larger batches.")
_MARKDOWN = absl_flags.DEFINE_string("markdown", None, "Markdown file to write the table to.")

_NETWORK = "efficientnet-b0"
_SIZE = 224
_CLASSES = 1000
_FEWEST_ROUNDS = 15
AIM = 1.0


def export_ours(folder: str) -> str:
    """Export our SavedModel; returns its folder."""
    model = build_model(_NETWORK, _CLASSES)
    description = Description(
        model=_NETWORK,
        scheme=None,
        dataset=None,
        preprocessing=model.spec.preprocessing,
        input_image_size=_SIZE,
        eval_crop="pad32",
        resize="bicubic",
        branch=model.branches[0],
        weights="random",
        step=None,
        metrics={},
        parameters=model.count_params(),
        commit=code_commit(),
        class_names=class_names(_CLASSES),
    )
    served = served_network(model, build_model(_NETWORK, _CLASSES), images_of(1), description)
    return export_network(served, "saved_model", folder)[0]


def export_keras(folder: str) -> str:
    """Export tf.keras.applications' network as a SavedModel; returns its folder."""
    network = tf.keras.applications.EfficientNetB0(weights=None, classes=_CLASSES)
    module = tf.Module()
    module.network_variables = network.variables
    module.classify = tf.function(
        lambda images: {"probabilities": network(images, training=False)},
        input_signature=[tf.TensorSpec([None, _SIZE, _SIZE, 3], tf.float32, name="images")],
    )
    path = os.path.join(folder, "keras")
    tf.saved_model.save(module, path, signatures=module.classify)
    return path


def images_of(batch_size: int) -> np.ndarray:
    """Noise, float32 [batch_size, 224, 224, 3] in [0, 255]."""
    return np.random.default_rng(0).uniform(0, 255, (batch_size, _SIZE, _SIZE, 3)).astype(np.float32)


def request(folder: str, images: np.ndarray) -> Step:
    """A call of the SavedModel's signature."""
    loaded = tf.saved_model.load(folder)
    given = tf.constant(images)

    def call() -> object:
        return loaded.signatures["serving_default"](images=given)

    return call


def main(argv: list[str]) -> None:
    """Measure and report."""
    del argv
    rows = []
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        folders = {"ours": export_ours(folder), "keras.applications": export_keras(folder)}
        for batch_size in map(int, _BATCH_SIZES.value):
            calls = {name: request(path, images_of(batch_size)) for name, path in folders.items()}
            times = take_turns(calls, max(_FEWEST_ROUNDS, _ROUNDS.value // batch_size))
            ours, theirs = (statistics.median(times[name]) for name in folders)
            verdict = "aim met" if round(ours / theirs, 2) <= AIM else "aim missed"
            rows.append(
                (
                    batch_size,
                    f"{1000 * ours:.1f}",
                    f"{1000 * theirs:.1f}",
                    f"{batch_size / ours:.1f}",
                    f"{batch_size / theirs:.1f}",
                    f"{ours / theirs:.2f}",
                    f"{min(times['ours']) / min(times['keras.applications']):.2f}",
                    verdict,
                )
            )
    headers = ("batch", "ours ms", "Keras ms", "ours images/s", "Keras images/s", "ratio of medians", "of minima", "")
    table = tabulate.tabulate(rows, headers, "github", disable_numparse=True)
    text = (
        f"B0, {_SIZE} px, {_CLASSES} classes, float32, {os.cpu_count()} CPU cores ({platform.machine()}), "
        f"TensorFlow {tf.__version__}, {datetime.datetime.now(datetime.timezone.utc).date()}; load average "
        f"{load_before:.1f} before and {os.getloadavg()[0]:.1f} after. Aim for the ratio: at most {AIM:g}.\n\n{table}"
    )
    print(text)
    if _MARKDOWN.value:
        command = f"python -m benchmarks.serving --batch_sizes={','.join(_BATCH_SIZES.value)} --rounds={_ROUNDS.value}"
        with open(_MARKDOWN.value, "w") as file:
            file.write(f"# Latency of an exported network\n\n`{command}`\n\n{text}\n")


if __name__ == "__main__":
    app.run(main)
