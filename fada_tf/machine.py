"""What the machine has, as far as that can be known before TensorFlow starts."""

import os

# Of the driver on Linux, in containers, and in the Windows Subsystem for Linux.
_NVIDIA_DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1")


def available_cores() -> int:
    """Returns the number of cores that this process may use."""
    # macOS cannot tie a process to cores.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_nvidia_driver() -> bool:
    """Tells whether an NVIDIA driver is installed, whatever TensorFlow makes of it."""
    return any(os.path.exists(path) for path in _NVIDIA_DRIVER)


def hides_gpus() -> bool:
    """Tells whether the user, or a program that needs none, keeps this process off the GPUs."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")


def hide_gpus() -> None:
    """Keeps TensorFlow, if it has not started yet, off the GPUs, in this process and those that it starts."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


def quiet_tensorflow() -> None:
    """Keeps TensorFlow, if it is not imported yet, from burying a program's own lines under its C++ notices.

    Without a GPU it also tells, as an error, that there is none. What goes wrong later is raised in Python.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_nvidia_driver() else "3")
