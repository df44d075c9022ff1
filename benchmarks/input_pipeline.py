"""Throughput of the input pipeline in images per second of one core, as ratios measured in one run.

    python -m benchmarks.input_pipeline --data_dir=FOLDER --markdown=docs/input_pipeline.md

FOLDER holds class folders (`train/CLASS/*`, `val/CLASS/*`). The baseline is a simple Keras pipeline:
`tf.keras.utils.image_dataset_from_directory`, a random crop and a random flip. The pipelines are interleaved (A B C A B
C). Each runs on one thread, and the process's CPU time is measured, on which other load has little effect.
"""

import datetime
import platform
import statistics
import time
from collections.abc import Callable

import tabulate
import tensorflow as tf
from absl import app, flags as absl_flags

from efficientnet_advprop.data import eval_dataset, train_dataset
from efficientnet_advprop.data.class_folders import ClassFolderSource
from efficientnet_advprop.recipes import Recipe, named_recipe, override

_DATA_DIR = absl_flags.DEFINE_string("data_dir", None, "Folder of class folders.", required=True)
_IMAGE_SIZE = absl_flags.DEFINE_integer("image_size", 224, "Side of the resulting images, in pixels.")
_BATCHES = absl_flags.DEFINE_integer("batches", 6, "Batches of 32 images per round and pipeline.")
_ROUNDS = absl_flags.DEFINE_integer("rounds", 7, "Rounds; each runs every pipeline once.")
_MARKDOWN = absl_flags.DEFINE_string("markdown", None, "Markdown file to write the table to.")

_BATCH_SIZE = 32
_KERAS_MARGIN = 8 / 7  # a crop of 224 px from 256 px, as usual

PLAIN, TRAIN, EVAL = "Keras: whole image, crop, flip", "train", "eval"
AUTOAUGMENT, RANDAUGMENT = "train + AutoAugment", "train + RandAugment"

# (pipeline, baseline, aim, lower bound).
AIMS = ((TRAIN, PLAIN, 1.5, 1.5), (AUTOAUGMENT, TRAIN, 0.6, 0.4))

_IDLE_SECONDS, _POLL_SECONDS = 0.01, 0.2

MakeDataset = Callable[[], tf.data.Dataset]


def benchmark_recipe(source: ClassFolderSource, augment_name: str) -> Recipe:
    """The ImageNet recipe of B0, with the number of images and classes of this source."""
    facts = source.facts
    return override(
        named_recipe("efficientnet-b0", "imagenet", "vanilla"),
        {
            "network.input_image_size": _IMAGE_SIZE.value,
            "data.num_label_classes": facts.num_label_classes,
            "data.num_train_images": facts.num_train_images,
            "data.num_eval_images": facts.num_eval_images,
            "data.augment_name": augment_name,
            "train_batch_size": _BATCH_SIZE,
            "cadence.eval_batch_size": _BATCH_SIZE,
        },
    )


def keras_dataset() -> tf.data.Dataset:
    """Decode whole images, resize them a little larger than the result, crop and flip at random."""
    size = _IMAGE_SIZE.value
    margin = round(size * _KERAS_MARGIN)
    dataset = tf.keras.utils.image_dataset_from_directory(
        f"{_DATA_DIR.value}/train", image_size=(margin, margin), batch_size=_BATCH_SIZE, label_mode="int"
    )
    augment = tf.keras.Sequential([tf.keras.layers.RandomCrop(size, size), tf.keras.layers.RandomFlip("horizontal")])
    return dataset.map(lambda images, labels: (augment(images, training=True), labels)).repeat()


def pipelines() -> dict[str, MakeDataset]:
    """The pipelines by name."""
    source = ClassFolderSource(_DATA_DIR.value)
    context = tf.distribute.InputContext()
    recipes = {name: benchmark_recipe(source, name) for name in ("none", "autoaugment", "randaugment")}
    return {
        PLAIN: keras_dataset,
        EVAL: lambda: eval_dataset(source, recipes["none"], context),
        TRAIN: lambda: train_dataset(source, recipes["none"], context),
        AUTOAUGMENT: lambda: train_dataset(source, recipes["autoaugment"], context),
        RANDAUGMENT: lambda: train_dataset(source, recipes["randaugment"], context),
    }


def on_one_thread(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same elements, computed by one thread."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False  # it would change the buffers between rounds
    return dataset.with_options(options)


def settle() -> None:
    """Wait until the buffers of all pipelines are full and the process is idle."""
    before = float("-inf")
    while time.process_time() - before > _IDLE_SECONDS:
        before = time.process_time()
        time.sleep(_POLL_SECONDS)


def measure(make_datasets: dict[str, MakeDataset]) -> dict[str, list[float]]:
    """Images per CPU second of each pipeline and round, after one batch of warm-up.

    A measurement ends when the pipeline's buffers are full again.
    """
    iterators = {name: iter(on_one_thread(make().repeat())) for name, make in make_datasets.items()}
    for iterator in iterators.values():
        next(iterator)
    settle()
    rates: dict[str, list[float]] = {name: [] for name in iterators}
    for _ in range(_ROUNDS.value):
        for name, iterator in iterators.items():
            start = time.process_time()
            for _ in range(_BATCHES.value):
                next(iterator)
            settle()
            rates[name].append(_BATCHES.value * _BATCH_SIZE / (time.process_time() - start))
    return rates


def report(rates: dict[str, list[float]]) -> str:
    """Markdown: rates, and ratios against their aims."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    rate_rows = [
        (name, f"{medians[name]:.0f}", f"{min(values):.0f}", f"{max(values):.0f}") for name, values in rates.items()
    ]
    ratio_rows = [
        (f"{name} / {base}", f"{medians[name] / medians[base]:.2f}", f"{aim:g}", f"{bound:g}")
        for name, base, aim, bound in AIMS
    ]
    tables = (
        tabulate.tabulate(rows, headers, "github", disable_numparse=True)
        for rows, headers in (
            (ratio_rows, ("ratio", "measured", "aim", "at least")),
            (rate_rows, ("pipeline", "median", "min", "max")),
        )
    )
    setting = (
        f"{_IMAGE_SIZE.value} px, {_ROUNDS.value} rounds of {_BATCHES.value} batches of {_BATCH_SIZE}, interleaved, "
        f"one thread, {platform.machine()}, TensorFlow {tf.__version__}, "
        f"{datetime.datetime.now(datetime.timezone.utc).date()}."
    )
    return "\n\nImages per second of CPU time:\n\n".join(tables).join((f"{setting}\n\n", ""))


def main(_: list[str]) -> None:
    """Measure, print, write."""
    text = report(measure(pipelines()))
    print(text)
    if _MARKDOWN.value:
        command = "python -m benchmarks.input_pipeline --data_dir=FOLDER"
        with open(_MARKDOWN.value, "w") as file:
            file.write(f"# Throughput of the input pipeline\n\n`{command}`\n\n{text}\n")


if __name__ == "__main__":
    app.run(main)
