"""Which devices train, and in which precision."""

import keras
import tensorflow as tf


def make_strategy() -> tf.distribute.Strategy:
    """Returns a MirroredStrategy over all GPUs, or over all logical CPUs; plain execution where there is one CPU."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1 and devices[0].device_type == "CPU":
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def set_precision(precision: str) -> None:
    """Sets the compute type of all models built from here on: "float32" or "mixed_bfloat16"."""
    keras.config.set_dtype_policy(precision)
