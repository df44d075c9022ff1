"""Connection to a TPU: by name, by address, or on this machine."""

import os

import grpc
import tensorflow as tf

from tpu_utils.errors import DeviceError, first_line

_TPU_VARIABLES = ("KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_NAME")
_ANSWER_TIMEOUT_SECONDS = 10.0


def tpu_of_environment() -> str | None:
    """The TPU named by the environment variables of Kubernetes or the user, in TensorFlow's order.

    The resolver reads them too, but only after it has decided that the TPU is not `local`.
    """
    return next((os.environ[name] for name in _TPU_VARIABLES if os.environ.get(name)), None)


def connect_tpu(tpu: str, zone: str | None = None, project: str | None = None) -> tf.distribute.TPUStrategy:
    """Connect to a TPU and initialize it, which clears its memory.

    Args:
        tpu: name in Google Cloud, `grpc://HOST:PORT` (several with commas), or `local`: the chips of this TPU VM.
        zone: of a named TPU; if None, Google Cloud's metadata server gives it.
        project: of a named TPU; likewise.

    Returns:
        A strategy with one replica per core, over all hosts of the TPU.

    Raises:
        DeviceError: when the TPU cannot be found, reached or initialized.
    """
    if (zone or project) and (tpu == "local" or tpu.startswith("grpc://")):
        raise DeviceError(f"TPU {tpu}: zone and project are only for a TPU given by name")
    resolver = _resolver(tpu, zone, project)
    try:
        for worker in resolver.cluster_spec().as_dict().get("worker", []):  # none for a local TPU
            _check_answer(worker)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except tf.errors.NotFoundError as error:
        raise DeviceError(
            f"TPU {tpu}: TensorFlow finds no TPU there; a TPU VM needs the TensorFlow build of its image"
        ) from error
    # A name is looked up by Google's client libraries if they are installed. Their errors have no common base class.
    except Exception as error:
        raise DeviceError(f"TPU {tpu}: {first_line(error)}") from error


def _resolver(tpu: str, zone: str | None, project: str | None) -> tf.distribute.cluster_resolver.TPUClusterResolver:
    try:
        return tf.distribute.cluster_resolver.TPUClusterResolver(tpu, zone=zone, project=project)
    except OSError as error:
        raise DeviceError(
            f"TPU {tpu}: Google Cloud's metadata server, asked for zone and project, does not answer ({error}); "
            "pass both, or a grpc:// address"
        ) from error


def _check_answer(worker: str) -> None:
    """Make the first call of TensorFlow's connection, with a timeout, which TensorFlow's own call lacks.

    TensorFlow also aborts the process if the server is not a TensorFlow server.
    """
    with grpc.insecure_channel(worker) as channel:
        get_status = channel.unary_unary("/tensorflow.WorkerService/GetStatus")
        try:
            get_status(b"", timeout=_ANSWER_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise ConnectionError(f"{worker} does not answer: {error.code().name}, {error.details()}") from error
