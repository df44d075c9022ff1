"""Batches for training and evaluation, from the records of any source.

A batch is a dict: `images` float32 [B, H, W, 3] in [0, 255], `labels` (training: float32 [B, K], one-hot, or soft after
MixUp or CutMix; evaluation: int32 [B]), `mask` and `bad` float32 [B], where B is the per-replica batch size. A training
batch holds the views that the scheme's terms name: `images`, `images_augmented` or both. `bad` is 1 for an image that
could not be read: in training another image of the batch replaces it, in evaluation its mask is 0. Each host's dataset
yields its replicas' batches one after another, as `strategy.distribute_datasets_from_function` expects.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.augment import augmentation_of, cutmix, mixup
from efficientnet_advprop.data.bad_images import read_or_mark, replace_bad_images, report, stop_at
from efficientnet_advprop.data.order import per_host_batch_size
from efficientnet_advprop.data.preprocessing import augmented, preprocess_eval, preprocess_train
from efficientnet_advprop.data.source import EVALUATION, Source
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import AUGMENTED_VIEW, IMAGES_VIEW, InputOptions, Recipe

Batch = dict[str, tf.Tensor]

_DEFAULT_OPTIONS = InputOptions()
_SEED = "seed"
_MIX = 16  # place in the seed of a batch's first image; `preprocessing` uses the first few


# Its functions and those of the sources have no Python control flow for autograph, which would take seconds.
@tf.autograph.experimental.do_not_convert
def train_dataset(
    source: Source,
    recipe: Recipe,
    context: tf.distribute.InputContext,
    start_step: int = 0,
    options: InputOptions = _DEFAULT_OPTIONS,
) -> tf.data.Dataset:
    """Training batches of this host, without end.

    The input position is a function of the step, so that no iterator state is saved. A stream from `start_step`
    continues an interrupted one exactly, except for TFRecords without `options.deterministic`, where the rest of the
    current epoch comes from a new shuffle.

    Args:
        source: of the images.
        recipe: batch size, seed, preprocessing, augmentation and mixing.
        context: index and number of hosts, and the number of replicas.
        start_step: number of steps trained before.
        options: how images are read.

    Raises:
        ValueError: when the number of replicas does not divide the batch.
    """

    def load(record: Any, seed: tf.Tensor) -> tuple[Batch, tf.Tensor]:
        encoded, label = source.read(record)
        return {**training_views(encoded, seed, recipe), _SEED: seed}, label

    def batch(values: Batch, labels: tf.Tensor, problems: tf.Tensor) -> Batch:
        bad = _bad(problems, options)
        one_hot = tf.one_hot(labels, recipe.data.num_label_classes)  # [B, K]
        read = {**values, "labels": one_hot, "mask": tf.ones_like(bad), "bad": bad}
        return _mixed(replace_bad_images(read) if options.bad_images == "skip" else read, recipe)

    batch_size = context.get_per_replica_batch_size(recipe.train_batch_size)
    records = source.train_records(recipe, context, start_step, options)
    image = tf.TensorSpec([recipe.network.input_image_size, recipe.network.input_image_size, 3])
    loaded = {**dict.fromkeys(recipe.views, image), _SEED: tf.TensorSpec([2], tf.int32)}
    return (
        read_or_mark(records, load, loaded, recipe.data.num_label_classes, batch_size)
        .map(lambda *read: batch(*_of_static_size(batch_size, read)), num_parallel_calls=tf.data.AUTOTUNE)
        # For a dataset not known to be infinite, several workers would agree before every batch whether there is one,
        # and the batch's shape would not be static.
        .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        .prefetch(tf.data.AUTOTUNE)
    )


def training_views(encoded: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> Batch:
    """The views of one image that the scheme reads, [H, W, 3] each, from the same decoding, crop and flip."""
    data = recipe.data
    augmentation = augmentation_of(data)
    image = preprocess_train(encoded, recipe.network.input_image_size, seed, data.train_crop, data.flip, data.resize)
    if AUGMENTED_VIEW not in recipe.views:
        return {IMAGES_VIEW: image if augmentation is None else augmented(image, seed, augmentation)}
    views = {IMAGES_VIEW: image, AUGMENTED_VIEW: augmented(image, seed, augmentation)}
    return {name: views[name] for name in recipe.views}


def _mixed(batch: Batch, recipe: Recipe) -> Batch:
    """One replica's batch without the seeds of its images, after MixUp or CutMix if the recipe has either."""
    data, views, labels = recipe.data, {name: batch[name] for name in recipe.views}, batch["labels"]
    seed = fold(batch[_SEED][0], _MIX)
    if data.mixup_alpha:
        views, labels = mixup(views, labels, data.mixup_alpha, seed)
    if data.cutmix_alpha:
        views, labels = cutmix(views, labels, data.cutmix_alpha, seed)
    return {**views, "labels": labels, "mask": batch["mask"], "bad": batch["bad"]}


@tf.autograph.experimental.do_not_convert
def eval_dataset(
    source: Source,
    recipe: Recipe,
    context: tf.distribute.InputContext,
    options: InputOptions = _DEFAULT_OPTIONS,
    num_images: int | None = None,
) -> tf.data.Dataset:
    """Evaluation batches of this host: all hosts together hold every image once.

    Every host yields the same number of batches, ceil(number of images / eval_batch_size) for each of its replicas. The
    last ones are padded with zeros of mask 0.

    Args:
        source: of the images.
        recipe: number of images, batch size, crop and resize.
        context: index and number of hosts, and the number of replicas.
        options: how images are read.
        num_images: number of images to use, evenly spaced in the source's order; None is all.

    Raises:
        ValueError: when the number of replicas does not divide the batch.
    """
    data, image_size, batch_size = recipe.data, recipe.network.input_image_size, recipe.cadence.eval_batch_size
    num_images = data.num_eval_images if num_images is None else min(num_images, data.num_eval_images)
    steps, per_replica = math.ceil(num_images / batch_size), context.get_per_replica_batch_size(batch_size)

    def load(record: Any) -> tuple[Batch, tf.Tensor]:
        image, label = source.read(record)
        return {IMAGES_VIEW: preprocess_eval(image, image_size, data.eval_crop, data.resize)}, label

    def batch(values: Batch, labels: tf.Tensor, problems: tf.Tensor) -> Batch:
        bad = _bad(problems, options)
        read = {**values, "labels": labels, "mask": 1 - bad, "bad": bad}
        missing = per_replica - tf.size(labels)

        def padded(values: tf.Tensor) -> tf.Tensor:
            return tf.concat([values, tf.zeros([missing, *values.shape[1:]], values.dtype)], axis=0)

        read = tf.cond(missing > 0, lambda: {name: padded(values) for name, values in read.items()}, lambda: read)
        return _of_static_size(per_replica, read)

    # Sharded by image, not by file: the hosts' numbers of images then differ by at most one, whatever the sizes of
    # files. Every host reads the whole split for it, but decodes, which takes longer, only its own images.
    records = _evenly_spaced(source.records(recipe, EVALUATION), num_images, data.num_eval_images)
    records = records.shard(context.num_input_pipelines, context.input_pipeline_id)
    loaded = {IMAGES_VIEW: tf.TensorSpec([image_size, image_size, 3])}
    batches = read_or_mark(records.batch(per_replica), load, loaded, data.num_label_classes, per_replica)
    batches = batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE)
    padding = {name: tf.zeros(spec.shape, spec.dtype) for name, spec in batches.element_spec.items()}
    return (
        batches.concatenate(tf.data.Dataset.from_tensors(padding).repeat())
        .take(steps * per_host_batch_size(context, batch_size) // per_replica)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_images(
    source: Source, recipe: Recipe, number: int, options: InputOptions = _DEFAULT_OPTIONS
) -> tuple[np.ndarray, np.ndarray]:
    """Some preprocessed evaluation images, rounded to whole pixel values, without bad ones.

    Args:
        source: of the images.
        recipe: number of images, crop and resize.
        number: the largest number N of images, evenly spaced in the source's order.
        options: how images are read.

    Returns:
        Images uint8 [N, H, W, 3] and labels int32 [N].
    """
    images, labels = [], []
    for batch in eval_dataset(source, recipe, tf.distribute.InputContext(), options, number).as_numpy_iterator():
        kept = batch["mask"] > 0
        images.append(whole_pixels(batch[IMAGES_VIEW][kept]))
        labels.append(batch["labels"][kept])
    return np.concatenate(images), np.concatenate(labels)


def whole_pixels(images: np.ndarray) -> np.ndarray:
    """Images rounded to uint8; bicubic resizing overshoots [0, 255]."""
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def _evenly_spaced(records: tf.data.Dataset, number: int, total: int) -> tf.data.Dataset:
    """`number` of all `total` records, in their order."""
    if number == total:
        return records
    wanted = np.zeros(total, bool)
    wanted[np.arange(number) * total // number] = True
    return (
        records.take(total).enumerate().filter(lambda index, _: tf.gather(wanted, index)).map(lambda _, record: record)
    )


def _bad(problems: tf.Tensor, options: InputOptions) -> tf.Tensor:
    """1 for each bad image of a batch, float32 [B], or the error that the options ask for."""
    return tf.cast(stop_at(problems) if options.bad_images == "error" else report(problems), tf.float32)


def _of_static_size(batch_size: int, values: Any) -> Any:
    """The values with a static first dimension."""
    return tf.nest.map_structure(lambda tensor: tf.ensure_shape(tensor, [batch_size, *tensor.shape[1:]]), values)
