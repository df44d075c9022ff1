"""Choice of a `tf.distribute` strategy."""

import contextlib

import tensorflow as tf

from tpu_utils.cluster import connect_workers, count_workers
from tpu_utils.errors import DeviceError
from tpu_utils.tpu import connect_tpu, tpu_of_environment

STRATEGIES = ("auto", "tpu", "multi_worker", "mirrored", "one_device")

# The classes' `__name__` are the internal names TPUStrategyV2 and CollectiveAllReduceStrategy.
_PUBLIC_NAMES = {
    tf.distribute.TPUStrategy: "TPUStrategy",
    tf.distribute.MultiWorkerMirroredStrategy: "MultiWorkerMirroredStrategy",
}


def connect(
    strategy: str = "auto", tpu: str | None = None, tpu_zone: str | None = None, gcp_project: str | None = None
) -> tf.distribute.Strategy:
    """Connect to devices. Call it before anything else uses a device.

    TensorFlow fixes memory growth and collectives at the first use of a device, and refuses to change them later.

    Args:
        strategy: one of STRATEGIES:
            `tpu`: all cores of a TPU; `multi_worker`: this host as a worker of TF_CONFIG, with all its GPUs;
            `mirrored`: all GPUs of this host, or its logical CPUs if it has none; `one_device`: the first GPU or CPU;
            `auto`: `tpu` if a TPU is named, else `multi_worker` if TF_CONFIG has several workers, else `mirrored` if
            there are several GPUs, else `one_device`.
        tpu: name or `grpc://` address of a TPU, or `local` on a TPU VM; if None, that of TPU_NAME or Kubernetes.
        tpu_zone: of a named TPU; if None, Google Cloud's metadata server gives it.
        gcp_project: of a named TPU; likewise.

    Raises:
        DeviceError: when the arguments contradict each other, or devices cannot be found or reached.
    """
    if strategy not in STRATEGIES:
        raise DeviceError(f"unknown strategy {strategy}; known: {', '.join(STRATEGIES)}")
    if tpu := _named_tpu(strategy, tpu, tpu_zone, gcp_project):
        return connect_tpu(tpu, tpu_zone, gcp_project)

    # Without memory growth a process reserves the whole memory of every GPU.
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if strategy == "multi_worker" or (strategy == "auto" and count_workers() > 1):
        return connect_workers()
    gpus = tf.config.list_logical_devices("GPU")
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    if strategy == "mirrored" or (strategy == "auto" and len(gpus) > 1):
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.OneDeviceStrategy(devices[0])


def _named_tpu(strategy: str, tpu: str | None, zone: str | None, project: str | None) -> str | None:
    if strategy in ("auto", "tpu"):
        tpu = tpu or tpu_of_environment()
        if not tpu and (strategy == "tpu" or zone or project):
            raise DeviceError("no TPU is named: tpu must be its name, its grpc:// address, or local on a TPU VM")
        return tpu
    if unwanted := tpu or zone or project:
        raise DeviceError(f"strategy {strategy} uses no TPU, but {unwanted} asks for one")
    return None


def hide_gpus() -> None:
    """Keep TensorFlow off the GPUs, for work that needs none; without effect once a device is in use."""
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def describe(strategy: tf.distribute.Strategy) -> str:
    """One line for the log: strategy, number of replicas, device type, number of hosts."""
    # With several workers these are the devices of this worker, with a TPU those of all its hosts.
    devices = [tf.DeviceSpec.from_string(name) for name in strategy.extended.worker_devices]
    devices_per_host = sum(device.task == devices[0].task for device in devices)
    kind = _PUBLIC_NAMES.get(type(strategy), type(strategy).__name__)
    replicas = strategy.num_replicas_in_sync
    hosts = replicas // devices_per_host
    return (
        f"{kind}, {replicas} {devices[0].device_type} replica{'s' * (replicas > 1)} on {hosts} host{'s' * (hosts > 1)}"
    )
