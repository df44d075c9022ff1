"""Two logical CPU devices, so that replicas can be tested anywhere."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import tensorflow as tf

from efficientnet_advprop.models import efficientnet

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture
def two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of two blocks (one without and one with expansion), which are traced in a second or two."""
    monkeypatch.setattr(efficientnet, "_B0_STAGES", efficientnet._B0_STAGES[:2])


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """Two replicas on two logical CPUs.

    One strategy for all tests: TensorFlow numbers the collectives of each from the start, and takes a second one's for
    the first one's.
    """
    return tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
