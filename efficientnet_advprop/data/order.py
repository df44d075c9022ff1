"""The order of training images, and their distribution over hosts, as a function of (seed, step)."""

import tensorflow as tf

from efficientnet_advprop.randomness import fold, fold_each
from efficientnet_advprop.recipes import Recipe

# Second element of the root seeds. Other rooms fold from [seed, 0].
_ORDER, _AUGMENTATION = 1, 2


def per_host_batch_size(context: tf.distribute.InputContext, global_batch_size: int) -> int:
    """Images per step of one host's replicas.

    Raises:
        ValueError: when the number of replicas does not divide the global batch.
    """
    replicas_per_host = context.num_replicas_in_sync // context.num_input_pipelines
    return replicas_per_host * context.get_per_replica_batch_size(global_batch_size)


def order_seed(recipe: Recipe, *places: int | tf.Tensor) -> tf.Tensor:
    """The seed, int32 [2], of an order of images, such as that of an epoch."""
    return fold(tf.constant([recipe.seed, _ORDER]), *places)


def augmentation_seeds(recipe: Recipe, indices: tf.Tensor, *places: int | tf.Tensor) -> tf.Tensor:
    """The seeds, int32 [N, 2], of the augmentation of images by their index [N] in one epoch, a place."""
    return fold_each(fold(tf.constant([recipe.seed, _AUGMENTATION]), *places), indices)


def training_order(
    num_images: int, recipe: Recipe, context: tf.distribute.InputContext, start_step: int
) -> tf.data.Dataset:
    """(indices int64 [B], seeds int32 [B, 2]) of the batches of this host's replicas, for sources with random access.

    Epochs follow each other without a gap: a batch may hold the end of one and the start of the next. Step s takes the
    positions [s * G, (s + 1) * G) of that sequence, where G is the global batch size, and host h of H takes the h-th of
    H equal parts of them. So the images of a step do not depend on the number of hosts and replicas, and a stream that
    starts at step s continues an uninterrupted one exactly.
    """
    first_epoch, offset = divmod(start_step * recipe.train_batch_size, num_images)

    def epoch_order(epoch: tf.Tensor) -> tf.data.Dataset:
        indices = tf.random.experimental.stateless_shuffle(
            tf.range(num_images, dtype=tf.int64), order_seed(recipe, epoch)
        )
        return tf.data.Dataset.from_tensor_slices((indices, augmentation_seeds(recipe, indices, epoch)))

    images = tf.data.Dataset.counter(first_epoch).flat_map(epoch_order).skip(offset)
    return replica_batches(images, recipe, context)


def replica_batches(images: tf.data.Dataset, recipe: Recipe, context: tf.distribute.InputContext) -> tf.data.Dataset:
    """The batches [B, ...] of this host's replicas, one after another, from the images of all hosts."""
    per_replica = context.get_per_replica_batch_size(recipe.train_batch_size)
    if context.num_input_pipelines > 1:
        steps = images.batch(per_host_batch_size(context, recipe.train_batch_size), drop_remainder=True)
        images = steps.shard(context.num_input_pipelines, context.input_pipeline_id).unbatch()
    return images.batch(per_replica, drop_remainder=True)
