"""Images in TFRecord files of any layout."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from efficientnet_advprop.data.order import augmentation_seeds, order_seed, replica_batches
from efficientnet_advprop.data.shards import Shards
from efficientnet_advprop.data.source import TRAIN
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe

_FILES_AT_A_TIME = 16  # enough to hide the latency of remote storage
_READ_BUFFER_BYTES = 8 * 2**20  # as in the official code, for the same reason
_SHUFFLED_BLOCK = 1024  # the official shuffle buffer: some 110 MB of encoded ImageNet images
_SHUFFLED_BLOCK_OF_CACHE = 16 * 1024  # larger, because cached images are in memory anyway


class RecordSource:
    """Images in sharded TFRecord files, local or remote.

    Args:
        where: the folder or data set, for messages.
        train: training files; None where they are not needed.
        evaluation: evaluation files.
        parse: a record's bytes -> (encoded image, label from 0).
        num_label_classes: number of classes, if known.
        class_names: their names, if known.
        identity: of the data set, wherever it is stored, such as its name and version; None if unknown.
    """

    def __init__(
        self,
        where: str,
        train: Shards | None,
        evaluation: Shards,
        parse: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        num_label_classes: int | None,
        class_names: tuple[str, ...] | None,
        identity: str | None = None,
    ) -> None:
        self._train, self._evaluation, self._parse = train, evaluation, parse
        self.class_names, self.identity = class_names, identity
        self.facts = DataFacts(where, num_label_classes, train.num_records if train else None, evaluation.num_records)

    def shards(self, split: str) -> Shards:
        """The files of a split."""
        return self._train if split == TRAIN else self._evaluation

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """Batches of (location, record, seed).

        Files are shuffled by (seed, epoch), then records within blocks; with a cache the order of files is fixed.
        TFRecords have no random access, so a resumed stream does not seek its position: it takes the number of images
        that was left of the epoch from a new shuffle, and later epochs are whole again.

        An epoch is sharded over hosts by file, or by record when the number of hosts does not divide the number of
        files; each host then reads all files. Hosts that shard files of unequal length end an epoch at slightly
        different steps.
        """
        if options.deterministic:
            return self._train_records_in_order(recipe, context, start_step, options)
        hosts, host = context.num_input_pipelines, context.input_pipeline_id
        num_train_images = recipe.data.num_train_images
        first_epoch, first_offset = divmod(start_step * recipe.train_batch_size, num_train_images)
        epoch_records = self._epochs(hosts, host, options.use_cache)

        def rest_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            offset = tf.where(epoch == first_epoch, tf.constant(first_offset, tf.int64), 0)
            records = epoch_records(order_seed(recipe, epoch, offset))
            left_on_host = -((offset - num_train_images) // hosts)
            whole = tf.constant(-1, tf.int64)
            records = records.take(tf.where(offset > 0, left_on_host, whole))
            return _with_seeds(records, recipe, (epoch, offset), host, hosts)

        records = tf.data.Dataset.counter(first_epoch).flat_map(rest_of_epoch)
        batches = records.batch(context.get_per_replica_batch_size(recipe.train_batch_size), drop_remainder=True)
        return batches.map(_flat)

    def _train_records_in_order(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """The same as a function of the step for any number of hosts; see `order.training_order`."""
        first_epoch, offset = divmod(start_step * recipe.train_batch_size, recipe.data.num_train_images)
        epoch_records = self._epochs(1, 0, options.use_cache)

        def whole_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            return _with_seeds(epoch_records(order_seed(recipe, epoch)), recipe, (epoch,))

        records = tf.data.Dataset.counter(first_epoch).flat_map(whole_epoch).skip(offset)
        return replica_batches(records, recipe, context).map(_flat)

    def _epochs(self, hosts: int, host: int, use_cache: bool) -> Callable[[tf.Tensor], tf.data.Dataset]:
        """A function from the seed of an epoch's order to this host's (location, record) of that epoch."""
        # Otherwise some hosts would have more files than others, and their epochs would drift apart.
        by_file = len(self._train.paths) % hosts == 0

        def sharded(paths: tf.data.Dataset) -> tf.data.Dataset:
            return _read(paths.shard(hosts, host)) if by_file else _read(paths).shard(hosts, host)

        paths = tf.constant(self._train.paths)
        if use_cache:
            cached = sharded(tf.data.Dataset.from_tensor_slices(paths)).cache()
            return lambda seed: _shuffle(cached, seed, _SHUFFLED_BLOCK_OF_CACHE)

        def epoch(seed: tf.Tensor) -> tf.data.Dataset:
            shuffled = tf.random.experimental.stateless_shuffle(paths, seed)
            return _shuffle(sharded(tf.data.Dataset.from_tensor_slices(shuffled)), seed, _SHUFFLED_BLOCK)

        return epoch

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(location, record) of every record once."""
        del recipe
        return _read(tf.data.Dataset.from_tensor_slices(list(self.shards(split).paths)))

    def read(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A record's encoded image and its label."""
        return self._parse(record)


def _read(paths: tf.data.Dataset) -> tf.data.Dataset:
    """(location, record) of all records of these files, interleaved.

    In a deterministic order, which sharding by record relies on.
    """

    def of_file(path: tf.Tensor) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(path, buffer_size=_READ_BUFFER_BYTES).enumerate()
        return records.map(
            lambda index, record: (tf.strings.join([path, " record ", tf.strings.as_string(index)]), record)
        )

    return paths.interleave(
        of_file, cycle_length=_FILES_AT_A_TIME, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def _with_seeds(
    records: tf.data.Dataset, recipe: Recipe, places: tuple[tf.Tensor, ...], first: int = 0, step: int = 1
) -> tf.data.Dataset:
    """((location, record), seed) of the records of an epoch, whose numbers are `first`, `first` + `step` and so on."""
    numbers = tf.data.Dataset.counter(first, step).batch(_SHUFFLED_BLOCK, drop_remainder=True)
    seeds = numbers.map(lambda indices: augmentation_seeds(recipe, indices, *places)).unbatch()
    return tf.data.Dataset.zip((records, seeds))


def _flat(record: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return (*record, seed)


def _shuffle(records: tf.data.Dataset, seed: tf.Tensor, block_size: int) -> tf.data.Dataset:
    """Shuffle the records within each block.

    Not with `Dataset.shuffle`: its order depends on TensorFlow's global seed too, and where that is 0 it does not
    accept a tensor as seed.
    """

    def shuffled(index: tf.Tensor, block: tuple[tf.Tensor, ...]) -> Any:
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(block[0])[0]), fold(seed, index))
        return tuple(tf.gather(part, order) for part in block)

    return records.batch(block_size).enumerate().map(shuffled).unbatch()
