"""Runs programs up to where they first touch TensorFlow's devices, beside a GPU that is listed and not started.

python -m tests.first_devices PROGRAMS.json prints, as JSON, what was set by then for each of the command lines.
"""

import json
import os
import pathlib
import runpy
import sys
import traceback

from tensorflow.python.eager import context

ROOT = pathlib.Path(__file__).parents[1]
UNTOUCHED = "no device touched"


def list_a_gpu() -> context.PhysicalDevice:
    """Adds a GPU to those that TensorFlow believes to have found."""
    own = context.context()
    own.list_physical_devices()
    gpu = context.PhysicalDevice(f"/physical_device:GPU:{len(own.list_physical_devices('GPU'))}", "GPU")
    own._physical_devices.append(gpu)
    own._physical_device_to_index[gpu] = len(own._physical_device_to_index)
    own._visible_device_list.append(gpu)
    own._memory_growth_map[gpu] = None
    return gpu


def first_touch(command: list[str], environment: dict[str, str]) -> str:
    """Runs a program, in a process of its own, and returns what was set when it touched a device."""
    read, write = os.pipe()
    process = os.fork()  # TensorFlow is imported once, and has no devices or threads yet
    if process:
        os.close(write)
        with open(read) as stream:
            text = stream.read()
        os.waitpid(process, 0)
        return text
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # standard output is for the results
    os.environ.update(environment)
    gpu = list_a_gpu()

    def report(text: str):
        os.write(write, text.encode())
        os._exit(0)

    def settings(own, otherwise: str) -> str:
        growth = own.get_memory_growth(gpu) and "memory growth"
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == "-1" and "hidden GPUs"
        collectives = own._collective_ops_server_def is not None and "workers"
        return " and ".join(filter(None, (growth, hidden, collectives))) or otherwise

    def ensure_initialized(own):
        report(settings(own, "nothing set:\n" + "".join(traceback.format_stack())))

    context.Context.ensure_initialized = ensure_initialized
    program, *options = command
    sys.argv = [str(ROOT / "scripts" / f"{program}.py"), *options]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        report(settings(context.context(), f"ended with {end.code}" if end.code else UNTOUCHED))
    except BaseException:
        report(traceback.format_exc())


if __name__ == "__main__":
    cases = json.loads(pathlib.Path(sys.argv[1]).read_text())
    json.dump({name: first_touch(case["command"], case["environment"]) for name, case in cases.items()}, sys.stdout)
