"""Which devices train, and in which precision."""

import os

import keras
import tensorflow as tf


def make_strategy() -> tf.distribute.Strategy:
    """Returns the strategy over all devices; call it before anything else of TensorFlow.

    With the environment variable TF_CONFIG, which names the workers, a MultiWorkerMirroredStrategy; else a
    MirroredStrategy over all GPUs, or over all logical CPUs; plain execution where there is one CPU.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1 and devices[0].device_type == "CPU":
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def workers(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Returns this process's place among the workers, 0 for the one that writes the run directory, and their number."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec():
        return 0, 1
    spec = resolver.cluster_spec()
    chiefs = spec.num_tasks("chief") if "chief" in spec.jobs else 0
    others = spec.num_tasks("worker") if "worker" in spec.jobs else 0
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0), chiefs + others


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every worker has called it."""
    one = strategy.run(lambda: tf.ones([]))
    strategy.reduce("SUM", one, axis=None).numpy()


def set_precision(precision: str) -> None:
    """Sets the compute type of all models built from here on: "float32" or "mixed_bfloat16"."""
    keras.config.set_dtype_policy(precision)
