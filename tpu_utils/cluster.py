"""Workers on several hosts, described by the environment variable TF_CONFIG."""

import functools
import json
import os
from collections.abc import Callable

import tensorflow as tf
from absl import logging

from tpu_utils.errors import DeviceError, first_line

_TRAINING_JOBS = {"chief", "worker"}


def count_workers() -> int:
    """The number of workers in TF_CONFIG's cluster, including the chief; 0 without a cluster.

    Raises:
        DeviceError: when TF_CONFIG is malformed, or this process is not one of its workers.
    """
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        cluster = tf.train.ClusterSpec(config.get("cluster", {}))
        if not cluster.jobs:
            return 0
        cluster.task_address(config["task"]["type"], int(config["task"]["index"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DeviceError(
            'TF_CONFIG must be like {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
            f'"task": {{"type": "worker", "index": 0}}}}: {type(error).__name__}, {first_line(error)}'
        ) from error
    if not _TRAINING_JOBS.issuperset(cluster.jobs):
        raise DeviceError(f"TF_CONFIG has the jobs {', '.join(cluster.jobs)}; only chief and worker can take part")
    return sum(cluster.num_tasks(job) for job in cluster.jobs)


def connect_workers() -> tf.distribute.MultiWorkerMirroredStrategy:
    """Join the cluster of TF_CONFIG; returns when all workers have joined.

    Raises:
        DeviceError: when there is no cluster, or its workers cannot be connected.
    """
    workers = count_workers()
    if not workers:
        raise DeviceError("strategy multi_worker needs TF_CONFIG, with the addresses of all workers")
    # A warning, because TensorFlow waits for up to an hour, and meanwhile ignores SIGINT and SIGTERM.
    logging.warning("waiting until all %d workers of TF_CONFIG are up", workers)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, tf.errors.OpError) as error:
        raise DeviceError(f"the {workers} workers of TF_CONFIG cannot be connected: {first_line(error)}") from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the files: the chief, or worker 0 where no job is called chief.

    Without several workers, a single process drives all devices, also on TPU pods.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    resolver = strategy.cluster_resolver
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_id == 0


def refuse_other_hosts(strategy: tf.distribute.Strategy, what: str) -> None:
    """Refuse input made by this process's Python code for a TPU whose hosts run other processes.

    These are all hosts of a TPU that is reached by grpc. Their pipelines cannot call Python functions of this process.

    Raises:
        DeviceError: when the strategy has such hosts; it names the input and their number.
    """
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        return
    devices = map(tf.DeviceSpec.from_string, strategy.extended.worker_devices)
    hosts = {(device.job, device.task) for device in devices if device.job != "localhost"}
    if hosts:
        raise DeviceError(
            f"{what} are made by Python in this process, and the input of this TPU is read by {len(hosts)} "
            f"other{'s' * (len(hosts) > 1)}: use a TPU VM of one host (tpu local), a GPU or a CPU"
        )


def any_worker(strategy: tf.distribute.Strategy, flag: bool) -> bool:
    """Whether the flag is set on any worker. All workers must call this, and get the same result."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return flag
    return int(_sum_over_replicas(strategy)(tf.constant(int(flag)), tf.constant(False))) > 0


def number_of_chief(strategy: tf.distribute.Strategy, number: int) -> int:
    """The chief's number, on every worker. All workers must call this."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return number
    return int(_sum_over_replicas(strategy)(tf.constant(number), tf.constant(True)))


@functools.cache
def _sum_over_replicas(
    strategy: tf.distribute.MultiWorkerMirroredStrategy,
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """(number, chief only) -> the sum over all replicas, or the number of the first replica, the chief's."""

    @tf.function(autograph=False)
    def total(number: tf.Tensor, of_chief_only: tf.Tensor) -> tf.Tensor:
        def on_replica() -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(of_chief_only & (replica != 0), 0, number)

        return strategy.reduce("SUM", strategy.run(on_replica), axis=None)

    return total
