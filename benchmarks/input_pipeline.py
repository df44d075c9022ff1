"""Cost of the input pipeline: CPU time per image, rates with several threads, memory.

    python -m benchmarks.input_pipeline --data_dir=FOLDER --markdown=docs/input_pipeline.md

FOLDER holds class folders (`train/CLASS/*`, `val/CLASS/*`). The baseline is what a Keras user writes first:
`tf.keras.utils.image_dataset_from_directory`, a random crop and a random flip. Each measurement is a process of its
own; they take turns (A B C A B C), and the tables hold medians. CPU time is that of the whole process, on which other
load has little effect. Rates and memory need an idle machine.
"""

import collections
import dataclasses
import datetime
import itertools
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import tabulate
import tensorflow as tf
from absl import app, flags as absl_flags

from efficientnet_advprop.data import eval_dataset, find_source, train_dataset
from efficientnet_advprop.data.pipeline import training_views
from efficientnet_advprop.data.preprocessing import distorted_window
from efficientnet_advprop.data.source import Source
from efficientnet_advprop.recipes import InputOptions, Recipe, named_recipe, override

_DATA_DIR = absl_flags.DEFINE_string("data_dir", None, "Folder of class folders.", required=True)
_IMAGE_SIZE = absl_flags.DEFINE_integer("image_size", 224, "Side of the resulting images, in pixels.")
_BATCHES = absl_flags.DEFINE_integer("batches", 30, "Batches of 32 images per measurement.")
_ROUNDS = absl_flags.DEFINE_integer("rounds", 3, "Measurements of each kind.")
_MARKDOWN = absl_flags.DEFINE_string("markdown", None, "Markdown file to write the tables to.")
_MEASURE = absl_flags.DEFINE_string("measure", None, "Used by the benchmark itself: one measurement, as JSON.")

_BATCH_SIZE = 32
_KERAS_MARGIN = 8 / 7  # a crop of 224 px from 256 px, as usual
_WARM_UP_BATCHES = 4
_RECORD_FILES = 8

PLAIN, DECODE, UNGUARDED = "Keras: whole image, crop, flip", "read and decode a window", "train, bad images not found"
TRAIN, AUTOAUGMENT, RANDAUGMENT, EVAL = "train", "train + AutoAugment", "train + RandAugment", "eval"
PIPELINES = (PLAIN, DECODE, UNGUARDED, TRAIN, AUTOAUGMENT, RANDAUGMENT, EVAL)
SAMPLE, NATURAL, RECORDS = "all files", "larger files, not scaled", "TFRecords of all files"

# (data, pipeline, baseline, aim of the ratio of rates).
AIMS = (
    (SAMPLE, TRAIN, PLAIN, 1.25),
    (NATURAL, TRAIN, PLAIN, 1.6),
    (SAMPLE, AUTOAUGMENT, TRAIN, 0.52),
    (SAMPLE, RANDAUGMENT, TRAIN, 0.48),
)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What one process measures.

    Attributes:
        data: which images.
        pipeline: one of `PIPELINES`.
        threads: of the pipeline.
        batch_size: images of a batch.
        use_cache: keep encoded images in memory.
    """

    data: str
    pipeline: str
    threads: int = 1
    batch_size: int = _BATCH_SIZE
    use_cache: bool = False


def dataset_of(measurement: Measurement, data_dir: str) -> tf.data.Dataset:
    """The batches to measure, without end."""
    if measurement.pipeline == PLAIN:
        return keras_dataset(data_dir, measurement.batch_size)
    source, context = find_source("imagenet", data_dir), tf.distribute.InputContext()
    options = InputOptions(use_cache=measurement.use_cache)
    augment_name = {AUTOAUGMENT: "autoaugment", RANDAUGMENT: "randaugment"}.get(measurement.pipeline, "none")
    recipe = benchmark_recipe(source, augment_name, measurement.batch_size)
    if measurement.pipeline == EVAL:
        return eval_dataset(source, recipe, context, options).repeat()
    if measurement.pipeline in (DECODE, UNGUARDED):
        return unguarded_dataset(source, recipe, options, measurement.pipeline == DECODE)
    return train_dataset(source, recipe, context, options=options)


def benchmark_recipe(source: Source, augment_name: str, batch_size: int) -> Recipe:
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
            "train_batch_size": batch_size,
            "cadence.eval_batch_size": batch_size,
        },
    )


def keras_dataset(data_dir: str, batch_size: int) -> tf.data.Dataset:
    """Decode whole images, resize them a little larger than the result, crop and flip at random."""
    size = _IMAGE_SIZE.value
    margin = round(size * _KERAS_MARGIN)
    dataset = tf.keras.utils.image_dataset_from_directory(
        f"{data_dir}/train", image_size=(margin, margin), batch_size=batch_size, label_mode="int"
    )
    augment = tf.keras.Sequential([tf.keras.layers.RandomCrop(size, size), tf.keras.layers.RandomFlip("horizontal")])
    return dataset.map(lambda images, labels: (augment(images, training=True), labels)).repeat()


def unguarded_dataset(source: Source, recipe: Recipe, options: InputOptions, decode_only: bool) -> tf.data.Dataset:
    """What `train_dataset` does of an image, ending at a bad one; or its reading and decoding alone."""

    def load(location: tf.Tensor, record: Any, seed: tf.Tensor) -> Any:
        del location
        encoded, label = source.read(record)
        if not decode_only:
            return {**training_views(encoded, seed, recipe), "seed": seed}, label
        window = distorted_window(tf.io.extract_jpeg_shape(encoded)[:2], recipe.network.input_image_size, seed)
        return tf.shape(tf.io.decode_and_crop_jpeg(encoded, window, channels=3)), label

    records = source.train_records(recipe, tf.distribute.InputContext(), 0, options).unbatch()
    examples = records.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return examples.batch(recipe.train_batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def measure(measurement: Measurement, data_dir: str) -> dict[str, float]:
    """CPU milliseconds per image, images per second, and the growth of the process in MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    dataset = dataset_of(measurement, data_dir)
    options = tf.data.Options()
    options.threading.private_threadpool_size = measurement.threads
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = measurement.threads > 1  # for one thread there is nothing to tune
    batches = iter(dataset.with_options(options))
    warm_up, number = (
        max(2, count * _BATCH_SIZE // measurement.batch_size) for count in (_WARM_UP_BATCHES, _BATCHES.value)
    )
    for _ in range(warm_up):
        next(batches)
    clock, cpu, images = time.perf_counter(), time.process_time(), 0
    for _ in range(number):
        batch = next(batches)
        is_ours = isinstance(batch, dict)  # whose evaluation pads the last batch
        images += int(tf.reduce_sum(batch["mask"])) if is_ours else tf.nest.flatten(batch)[0].shape[0]
    return {
        "cpu_ms": 1e3 * (time.process_time() - cpu) / images,
        "rate": images / (time.perf_counter() - clock),
        "mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def take_turns(measurements: Iterable[Measurement], folders: dict[str, str]) -> dict[Measurement, dict[str, float]]:
    """Medians of `--rounds` processes for each measurement."""
    found = collections.defaultdict(list)
    for _, measurement in itertools.product(range(_ROUNDS.value), measurements):
        command = [sys.executable, "-m", "benchmarks.input_pipeline", f"--data_dir={folders[measurement.data]}"]
        command += [f"--{flag.name}={flag.value}" for flag in (_IMAGE_SIZE, _BATCHES)]
        command += [f"--measure={json.dumps(dataclasses.asdict(measurement))}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[measurement].append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{measurement.data}, {measurement.pipeline}: {found[measurement][-1]}", file=sys.stderr)
    return {
        measurement: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for measurement, results in found.items()
    }


def prepare(folder: pathlib.Path) -> dict[str, str]:
    """Folders of the images by the kind of data: links to files, and TFRecords in the official layout."""
    files = sorted(pathlib.Path(_DATA_DIR.value, "train").glob("*/*"))
    classes = sorted({file.parent.name for file in files})
    shapes = [tf.io.extract_jpeg_shape(tf.io.read_file(os.fspath(file))).numpy()[:2] for file in files]
    (usual_side, _), *_ = collections.Counter(int(min(shape)) for shape in shapes).most_common(1)
    unscaled = [file for file, shape in zip(files, shapes, strict=True) if min(shape) > usual_side]
    for split in ("train", "val"):
        for file in unscaled:
            link = folder / "natural" / split / file.parent.name / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
    (folder / "records").mkdir()
    for split, number in itertools.product(("train", "validation"), range(_RECORD_FILES)):
        name = folder / "records" / f"{split}-{number:05d}-of-{_RECORD_FILES:05d}"
        with tf.io.TFRecordWriter(os.fspath(name)) as writer:
            for file in files[number::_RECORD_FILES]:
                writer.write(example_of(file, classes.index(file.parent.name)))
    (folder / "records" / "classes.txt").write_text("\n".join(classes))
    return {SAMPLE: _DATA_DIR.value, NATURAL: str(folder / "natural"), RECORDS: str(folder / "records")}


def example_of(file: pathlib.Path, label: int) -> bytes:
    """A record of the official layout, whose labels begin at 1."""
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[file.read_bytes()])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label + 1])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def cost_report(results: dict[Measurement, dict[str, float]], data: Iterable[str]) -> str:
    """Markdown: ratios against their aims, and CPU time per image."""
    cpu_ms = {(measured.data, measured.pipeline): result["cpu_ms"] for measured, result in results.items()}
    ratios = [
        (f"{name} / {base}", kind, f"{cpu_ms[kind, base] / cpu_ms[kind, name]:.2f}", f"{aim:g}")
        for kind, name, base, aim in AIMS
    ]
    rows = [
        (name, *(f"{cpu_ms[kind, name]:.2f}" if (kind, name) in cpu_ms else "-" for kind in data)) for name in PIPELINES
    ]
    return "\n\n".join(
        (
            table(ratios, ("ratio of rates", "images", "measured", "aim")),
            "Milliseconds of CPU time per image:",
            table(rows, ("pipeline", *data)),
        )
    )


def scaling_report(results: dict[Measurement, dict[str, float]]) -> str:
    """Markdown: rates and memory."""
    rows = [
        (
            measured.pipeline,
            measured.data,
            measured.batch_size,
            measured.threads,
            "yes" if measured.use_cache else "no",
            f"{result['rate']:.0f}",
            f"{result['mib']:.0f}",
        )
        for measured, result in results.items()
    ]
    return table(rows, ("pipeline", "images", "batch", "threads", "cache", "images/s", "memory, MiB"))


def table(rows: Iterable[Iterable], headers: Iterable[str]) -> str:
    """A table in Markdown."""
    return tabulate.tabulate(rows, headers, "github", disable_numparse=True)


def report(folders: dict[str, str]) -> str:
    """Measure, and write the tables."""
    costs = [
        Measurement(data, pipeline)
        for data, pipeline in itertools.product(folders, PIPELINES)
        if (data, pipeline) != (RECORDS, PLAIN)
    ]
    scaling = [
        *(Measurement(SAMPLE, TRAIN, threads) for threads in (1, 2)),
        *(Measurement(SAMPLE, AUTOAUGMENT, threads) for threads in (1, 2)),
        Measurement(SAMPLE, PLAIN, 2),
        Measurement(SAMPLE, TRAIN, 2, batch_size=128),
        *(Measurement(RECORDS, TRAIN, 2, use_cache=use_cache) for use_cache in (False, True)),
    ]
    setting = (
        f"{_IMAGE_SIZE.value} px, medians of {_ROUNDS.value} processes of {_BATCHES.value} batches of {_BATCH_SIZE}, "
        f"{platform.machine()}, TensorFlow {tf.__version__}, {datetime.datetime.now(datetime.timezone.utc).date()}."
    )
    return "\n\n".join(
        (
            setting,
            cost_report(take_turns(costs, folders), folders),
            "Rates and the growth of the process's memory, with threads of its own for the pipeline:",
            scaling_report(take_turns(scaling, folders)),
        )
    )


def main(_: list[str]) -> None:
    """Measure, print, write."""
    if _MEASURE.value:
        print(json.dumps(measure(Measurement(**json.loads(_MEASURE.value)), _DATA_DIR.value)))
        return
    with tempfile.TemporaryDirectory() as folder:
        text = report(prepare(pathlib.Path(folder)))
    print(text)
    if _MARKDOWN.value:
        command = "python -m benchmarks.input_pipeline --data_dir=FOLDER"
        with open(_MARKDOWN.value, "w") as file:
            file.write(f"# Cost of the input pipeline\n\n`{command}`\n\n{text}\n")


if __name__ == "__main__":
    app.run(main)
