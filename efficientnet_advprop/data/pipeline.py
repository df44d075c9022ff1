"""Batches for training and evaluation, from the examples of any source.

A batch is a dict: `images` float32 [B, H, W, 3] in [0, 255], `labels` (training: float32 [B, K], one-hot or, after
MixUp or CutMix, soft; evaluation: int32 [B]), `mask` and `bad` float32 [B], where B is one replica's share. A training
batch holds the views that the scheme's terms name, which may be `images_augmented` beside or instead of `images`. `bad`
is 1 where an image could not be read: in training another stands in for it, in evaluation its mask is 0. The datasets
are what `strategy.distribute_datasets_from_function` wants of each host: its replicas' batches one after another.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data.augment import augmentation_of, cutmix, mixup
from efficientnet_advprop.data.bad_images import read_or_mark, report, stop_at, with_stand_ins
from efficientnet_advprop.data.order import per_host_batch_size
from efficientnet_advprop.data.preprocessing import augmented, preprocess_eval, preprocess_train
from efficientnet_advprop.data.source import EVALUATION, Source
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import AUGMENTED_VIEW, IMAGES_VIEW, InputOptions, Recipe

Batch = dict[str, tf.Tensor]

_AS_USUAL = InputOptions()
_SEED = "seed"
_MIX = 16  # place in the seed of a batch's first image, behind those that `preprocessing` uses


def train_dataset(
    source: Source,
    recipe: Recipe,
    context: tf.distribute.InputContext,
    start_step: int = 0,
    options: InputOptions = _AS_USUAL,
) -> tf.data.Dataset:
    """Training batches of this host, for ever.

    Nothing is kept between runs: where the stream stands is a function of the step. A stream from `start_step`
    continues the interrupted one pixel by pixel; TFRecords without `options.deterministic` may start at a fresh shuffle
    of the current epoch instead.

    Args:
        source: of the images.
        recipe: batch size, seed, and what is done to images and batches.
        context: which of how many hosts this is, and the number of replicas.
        start_step: steps that were trained before.
        options: how images are read.

    Raises:
        ValueError: when the batch does not divide over the replicas.
    """

    def load(record: Any, seed: tf.Tensor) -> tuple[Batch, tf.Tensor]:
        encoded, label = source.read(record)
        return {**training_views(encoded, seed, recipe), _SEED: seed}, label

    def example(values: Batch, label: tf.Tensor, problem: tf.Tensor) -> Batch:
        return {
            **values,  # the views [H, W, 3] and the seed
            "labels": tf.one_hot(label, recipe.data.num_label_classes),  # [K]
            "mask": tf.constant(1.0),
            "bad": tf.cast(_handled(problem, options) != "", tf.float32),
        }

    records = source.train_records(recipe, context, start_step, options)
    image = tf.TensorSpec([recipe.network.input_image_size, recipe.network.input_image_size, 3])
    loaded = {**dict.fromkeys(recipe.views, image), _SEED: tf.TensorSpec([2], tf.int32)}
    batches = (
        read_or_mark(records, load, loaded, recipe.data.num_label_classes)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(context.get_per_replica_batch_size(recipe.train_batch_size), drop_remainder=True)
    )
    if options.bad_images == "skip":
        batches = batches.map(with_stand_ins)
    return (
        batches.map(lambda batch: _mixed(batch, recipe), num_parallel_calls=tf.data.AUTOTUNE)
        # Where the end is not known to be none, several workers ask each other before every batch whether there is one,
        # and its shape is no longer static.
        .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        .prefetch(tf.data.AUTOTUNE)
    )


def training_views(encoded: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> Batch:
    """The views of one image that the scheme reads, [H, W, 3] each; both come of one decoding, crop and flip."""
    data = recipe.data
    augmentation = augmentation_of(data)
    image = preprocess_train(encoded, recipe.network.input_image_size, seed, data.train_crop, data.flip, data.resize)
    if AUGMENTED_VIEW not in recipe.views:
        return {IMAGES_VIEW: image if augmentation is None else augmented(image, seed, augmentation)}
    views = {IMAGES_VIEW: image, AUGMENTED_VIEW: augmented(image, seed, augmentation)}
    return {name: views[name] for name in recipe.views}


def _mixed(batch: Batch, recipe: Recipe) -> Batch:
    """One replica's batch after MixUp or CutMix, if the recipe has either, without the seeds of its images."""
    data, views, labels = recipe.data, {name: batch[name] for name in recipe.views}, batch["labels"]
    seed = fold(batch[_SEED][0], _MIX)
    if data.mixup_alpha:
        views, labels = mixup(views, labels, data.mixup_alpha, seed)
    if data.cutmix_alpha:
        views, labels = cutmix(views, labels, data.cutmix_alpha, seed)
    return {**views, "labels": labels, "mask": batch["mask"], "bad": batch["bad"]}


def eval_dataset(
    source: Source,
    recipe: Recipe,
    context: tf.distribute.InputContext,
    options: InputOptions = _AS_USUAL,
    num_images: int | None = None,
) -> tf.data.Dataset:
    """Evaluation batches of this host: hosts together hold every image once.

    Every host yields the same number of batches, ceil(number of images / eval_batch_size) for each of its replicas;
    zeros with mask 0 fill the tail.

    Args:
        source: of the images.
        recipe: number of images, batch size, crop and resize.
        context: which of how many hosts this is, and the number of replicas.
        options: how images are read.
        num_images: hold only so many, evenly spaced in the source's order; None is all.

    Raises:
        ValueError: when the batch does not divide over the replicas.
    """
    data, image_size, batch_size = recipe.data, recipe.network.input_image_size, recipe.cadence.eval_batch_size
    num_images = data.num_eval_images if num_images is None else min(num_images, data.num_eval_images)
    steps = math.ceil(num_images / batch_size)

    def load(record: Any) -> tuple[Batch, tf.Tensor]:
        image, label = source.read(record)
        return {IMAGES_VIEW: preprocess_eval(image, image_size, data.eval_crop, data.resize)}, label

    def example(values: Batch, label: tf.Tensor, problem: tf.Tensor) -> Batch:
        bad = tf.cast(_handled(problem, options) != "", tf.float32)
        return {**values, "labels": label, "mask": 1 - bad, "bad": bad}

    # By image, not by file: hosts then hold equally many (but for one) however the files are filled. The price is
    # that every host reads the whole split; decoding, which takes longer, is shared.
    records = _evenly_spaced(source.records(recipe, EVALUATION), num_images, data.num_eval_images)
    records = records.shard(context.num_input_pipelines, context.input_pipeline_id)
    loaded = {IMAGES_VIEW: tf.TensorSpec([image_size, image_size, 3])}
    examples = read_or_mark(records, load, loaded, data.num_label_classes)
    examples = examples.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    padding = {name: tf.zeros(spec.shape, spec.dtype) for name, spec in examples.element_spec.items()}
    return (
        examples.concatenate(tf.data.Dataset.from_tensors(padding).repeat())
        .take(steps * per_host_batch_size(context, batch_size))
        .batch(context.get_per_replica_batch_size(batch_size), drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_images(
    source: Source, recipe: Recipe, number: int, options: InputOptions = _AS_USUAL
) -> tuple[np.ndarray, np.ndarray]:
    """Some evaluation images as the network gets them, rounded to whole pixel values; bad ones are left out.

    Args:
        source: of the images.
        recipe: number of images, crop and resize.
        number: at most so many, evenly spaced in the source's order.
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
    """So many of all records, in their order."""
    if number == total:
        return records
    wanted = np.zeros(total, bool)
    wanted[np.arange(number) * total // number] = True
    return (
        records.take(total).enumerate().filter(lambda place, _: tf.gather(wanted, place)).map(lambda _, record: record)
    )


def _handled(problem: tf.Tensor, options: InputOptions) -> tf.Tensor:
    return stop_at(problem) if options.bad_images == "error" else report(problem)
