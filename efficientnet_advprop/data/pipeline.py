"""From a source's examples to batches of fixed shape."""

import tensorflow as tf

from efficientnet_advprop.data.source import Source
from efficientnet_advprop.recipes import Recipe


def train_dataset(
    source: Source, recipe: Recipe, context: tf.distribute.InputContext, start_step: int = 0
) -> tf.data.Dataset:
    """Endless training batches of one replica, for `strategy.distribute_datasets_from_function`.

    Consecutive batches go to the host's replicas in turn, so on one host they make up the batch that a single device
    would get. The position in the stream is a function of the step: nothing of the input is in a checkpoint.

    Args:
        source: where pictures come from.
        recipe: batch size, image size, augmentation, seed.
        context: this host among all, and the number of replicas.
        start_step: steps made already.

    Returns:
        Dicts `images` float32 [B, S, S, 3] in [0, 255], `labels` float32 one-hot [B, K], `mask` float32 [B] of ones.
    """
    batch_size = context.get_per_replica_batch_size(recipe.train_batch_size)
    examples = source.train_examples(
        recipe,
        context.num_input_pipelines,
        context.input_pipeline_id,
        start_image=start_step * recipe.train_batch_size,
    )

    def one_hot(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        labels = tf.one_hot(batch["labels"], recipe.data.num_label_classes)
        return {**batch, "labels": labels, "mask": tf.ones([batch_size])}

    return examples.batch(batch_size, drop_remainder=True).map(one_hot).prefetch(tf.data.AUTOTUNE)


def eval_dataset(source: Source, recipe: Recipe, context: tf.distribute.InputContext) -> tf.data.Dataset:
    """One pass over this host's evaluation pictures, in batches of one replica.

    Every host yields the same number of batches, since they evaluate in step; what is missing is padded and masked.

    Args:
        source: where pictures come from.
        recipe: batch size and image size.
        context: this host among all, and the number of replicas.

    Returns:
        Dicts `images` float32 [B, S, S, 3], `labels` int32 [B], `mask` float32 [B]: 1 for a picture, 0 for padding.
    """
    batch_size = context.get_per_replica_batch_size(recipe.cadence.eval_batch_size)
    steps = -(-recipe.data.num_eval_images // recipe.cadence.eval_batch_size)
    replicas_on_host = context.num_replicas_in_sync // context.num_input_pipelines
    size = recipe.network.input_image_size
    padding = tf.data.Dataset.from_tensors(
        {"images": tf.zeros([size, size, 3]), "labels": tf.constant(0), "mask": tf.constant(0.0)}
    ).repeat()
    examples = source.eval_examples(recipe, context.num_input_pipelines, context.input_pipeline_id)
    padded = examples.map(lambda example: {**example, "mask": tf.constant(1.0)}).concatenate(padding)
    batches = padded.batch(batch_size, drop_remainder=True).take(steps * replicas_on_host)
    return batches.prefetch(tf.data.AUTOTUNE)
