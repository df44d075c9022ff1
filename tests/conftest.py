"""Two logical CPU devices, so that replicas can be tested anywhere."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator

import pytest
import tensorflow as tf

import tpu_utils
from tests.two_blocks import two_block_networks

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# As runs do where there is no GPU: a fifth of the tests' time.
tpu_utils.set_graph_optimizer(False)


def pytest_collection_finish() -> None:
    """What was imported is no garbage: collections need not look at it."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def file_without_leftovers() -> Iterator[None]:
    """A file's graphs go with it: several GB over all files."""
    gradients_before = tpu_utils.registered_gradients()
    yield
    tpu_utils.release_graphs(gradients_before)


@pytest.fixture
def two_blocks() -> Iterator[None]:
    """Networks of two blocks, not seven."""
    with two_block_networks():
        yield


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """Two replicas on two logical CPUs.

    One strategy for all tests: TensorFlow numbers the collectives of each from the start, and takes a second one's for
    the first one's.
    """
    return tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
