"""Tests run on two logical CPU devices, and on no GPU, so that every machine tests the same thing."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import tensorflow as tf

tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.MirroredStrategy:
    """A strategy with one replica on each of the two logical CPUs."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
