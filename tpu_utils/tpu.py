"""Reaching a TPU: by name, by address, or as part of this machine."""

import os

import grpc
import tensorflow as tf

from tpu_utils.errors import DeviceError, first_line

_TPU_VARIABLES = ("KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_NAME")
_ANSWER_TIMEOUT_SECONDS = 10.0


def tpu_of_environment() -> str | None:
    """The TPU that Kubernetes or the user's shell names, in the order of TensorFlow's own client.

    The resolver would look there too, but only after it has decided that the TPU is not `local`.
    """
    return next((os.environ[name] for name in _TPU_VARIABLES if os.environ.get(name)), None)


def connect_tpu(tpu: str, zone: str | None = None, project: str | None = None) -> tf.distribute.TPUStrategy:
    """Connect to a TPU and initialize it, which drops whatever its memory held.

    Args:
        tpu: name in Google Cloud, `grpc://HOST:PORT` (several with commas), or `local`: the chips of this TPU VM.
        zone: of a named TPU; asked of Google Cloud's metadata server if absent.
        project: of a named TPU; likewise.

    Returns:
        One replica per core, on all hosts of the TPU.

    Raises:
        DeviceError: when the TPU cannot be found, reached or initialized.
    """
    if (zone or project) and (tpu == "local" or tpu.startswith("grpc://")):
        raise DeviceError(f"TPU {tpu}: a zone and a project go with a TPU's name only")
    resolver = _resolver(tpu, zone, project)
    try:
        for worker in resolver.cluster_spec().as_dict().get("worker", []):  # none for a local TPU
            _check_answer(worker)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except tf.errors.NotFoundError as error:
        raise DeviceError(
            f"TPU {tpu}: TensorFlow finds no TPU there; on a TPU VM it must be the build that comes with the image"
        ) from error
    # Looking up a name goes through Google's client libraries where they are installed, and these raise types of
    # their own without a common base.
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
    """Make the call with which TensorFlow's connection begins: TensorFlow itself waits for the answer without limit.

    Where something else than a TensorFlow server answers, it even aborts the process.
    """
    with grpc.insecure_channel(worker) as channel:
        get_status = channel.unary_unary("/tensorflow.WorkerService/GetStatus")
        try:
            get_status(b"", timeout=_ANSWER_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise ConnectionError(f"{worker} does not answer: {error.code().name}, {error.details()}") from error
