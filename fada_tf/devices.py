"""Which devices train, how, and in which precision."""

import os

import keras
import tensorflow as tf
from absl import logging

from fada_tf import machine
from fada_tf.errors import InputError


def set_up_devices(*, memory_growth: bool = True) -> None:
    """Has GPUs give their memory as it is needed; call it before anything else of TensorFlow, data sets included.

    Warns where there are GPUs that TensorFlow cannot use.

    Args:
      memory_growth: see `TrainingConfig`.
    """
    gpus = tf.config.list_physical_devices("GPU")
    try:
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, memory_growth)
    except (RuntimeError, ValueError) as error:  # only in a process that has used TensorFlow for something else before
        logging.warning("the GPUs keep the memory settings that they were started with (%s)", error)
    if not gpus and machine.has_nvidia_driver() and not machine.hides_gpus():
        logging.warning(
            "this machine has an NVIDIA driver, and TensorFlow finds no GPU: it computes on the CPU. "
            "pip install -e '.[gpu]' brings the CUDA libraries that it looks for; nvidia-smi shows the driver's version"
        )


def device_names(strategy: tf.distribute.Strategy) -> str:
    """Returns what this process computes on, for example "2 x NVIDIA H100 80GB HBM3", "GPU" or "CPU"."""
    gpus = tf.config.get_visible_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    names = names or ["CPU"] * (strategy.num_replicas_in_sync // workers(strategy)[1])
    counts = {name: names.count(name) for name in names}
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())


def inference_batch_size() -> int:
    """Returns how many images a model should see at a time when nothing is trained: on CPUs, more are no faster."""
    return 4 if tf.config.list_logical_devices("GPU") else 1


def make_strategy(*, memory_growth: bool = True, all_reduce_packs: int = 0) -> tf.distribute.Strategy:
    """Returns the strategy over all devices; call it before anything else of TensorFlow.

    With the environment variable TF_CONFIG, which names the workers, a MultiWorkerMirroredStrategy; else a
    MirroredStrategy over all GPUs, or over all logical CPUs; plain execution where there is one CPU.

    Args:
      memory_growth: see `TrainingConfig`.
      all_reduce_packs: see `TrainingConfig`.

    Raises:
      InputError: all_reduce_packs is set, and there are workers.
    """
    if all_reduce_packs and "TF_CONFIG" in os.environ:
        raise InputError(
            f"config.training.all_reduce_packs is {all_reduce_packs}, and TF_CONFIG names several workers, which pack "
            "by themselves: set it to 0"
        )
    set_up_devices(memory_growth=memory_growth)
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1 and devices[0].device_type == "CPU":
        return tf.distribute.get_strategy()
    all_reduce = None
    if all_reduce_packs:
        on_gpus = devices[0].device_type == "GPU"
        reduction = tf.distribute.NcclAllReduce if on_gpus else tf.distribute.HierarchicalCopyAllReduce
        all_reduce = reduction(all_reduce_packs)
    return tf.distribute.MirroredStrategy([device.name for device in devices], all_reduce)


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
    arrived = strategy.run(lambda: tf.ones([]))
    strategy.reduce("SUM", arrived, axis=None).numpy()


def set_precision(precision: str) -> None:
    """Sets the compute type of all models built from here on: "float32", "mixed_bfloat16" or "mixed_float16"."""
    keras.config.set_dtype_policy(precision)


def set_channels_order(order: str) -> None:
    """Sets the order that functions traced from here on have on GPUs; see `TrainingConfig`."""
    tf.config.optimizer.set_experimental_options({"layout_optimizer": order == "automatic"})
