"""Two logical CPU devices, so that replicas can be tested on every machine."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator

import efficientnet_advprop  # noqa: F401  (before TensorFlow, as in main.py)

# isort: split
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_image

import tpu_utils
from tests.two_blocks import two_block_networks

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# As in runs without a GPU; it saves a fifth of the tests' time.
tpu_utils.set_graph_optimizer(False)


def pytest_collection_finish() -> None:
    """Exclude imported modules from garbage collection."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def file_without_leftovers() -> Iterator[None]:
    """Release the graphs of a test file at its end; over all files they take several GB."""
    gradients_before = tpu_utils.registered_gradients()
    yield
    tpu_utils.release_graphs(gradients_before)


@pytest.fixture
def two_blocks() -> Iterator[None]:
    """Networks of two blocks instead of seven."""
    with two_block_networks():
        yield


@pytest.fixture(scope="module")
def few_blocks() -> Iterator[None]:
    """`two_blocks` for a whole file, its shared runs included: `pytestmark = pytest.mark.usefixtures("few_blocks")`."""
    with two_block_networks():
        yield


@pytest.fixture(scope="module")
def photograph():
    """A photograph, not square."""
    return np.ascontiguousarray(load_sample_image("china.jpg")[100:300, 200:430])


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """Two replicas on two logical CPUs.

    One strategy for all tests: TensorFlow numbers the collectives of every strategy from the start, so those of two
    strategies would be confused.
    """
    return tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
