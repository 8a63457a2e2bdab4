"""Starting the real programs, and ending them in the middle of their work."""

import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).parents[1]
PATIENCE = 300  # seconds

# Processes are forked from one that has imported these, which takes five seconds, and has neither devices nor threads.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tensorflow", "keras", "orbit"])


def command(program: str, *options: str) -> list[str]:
    """Returns the command line of fada-tf PROGRAM."""
    return [sys.executable, str(ROOT / "scripts" / f"{program}.py"), *options]


def run(
    folder: pathlib.Path, program: str, *options: str, timeout: float = PATIENCE, first: str = ""
) -> subprocess.CompletedProcess:
    """Runs fada-tf PROGRAM in `folder`, in a process of its own, and returns what it printed and how it ended.

    Args:
      folder: the working folder.
      program: its name.
      options: of the command line.
      timeout: seconds.
      first: Python code to execute before it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        outputs = [os.path.join(scratch, name) for name in ("stdout", "stderr")]
        arguments = (str(folder), program, options, dict(os.environ), first, outputs)
        process = _PROCESSES.Process(target=_start, args=arguments)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command(program, *options), timeout)
        texts = [pathlib.Path(path).read_text(errors="replace") for path in outputs]
    return subprocess.CompletedProcess(command(program, *options), process.exitcode, *texts)


def _start(
    folder: str, program: str, options: tuple[str, ...], environment: dict[str, str], first: str, outputs: list[str]
) -> None:
    for path, stream in zip(outputs, (sys.stdout, sys.stderr), strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream.fileno())
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    _, *sys.argv = command(program, *options)
    exec(first, {})
    runpy.run_path(sys.argv[0], run_name="__main__")


def interrupt(
    folder: pathlib.Path,
    program: str,
    *options: str,
    when: Callable[[], bool],
    number: signal.Signals = signal.SIGKILL,
    delay: float = 0.0,
) -> tuple[int, str]:
    """Runs a program and sends it a signal a delay, in seconds, after `when` holds; it may have ended by then.

    Returns:
      How it ended, and what it wrote on standard error.
    """
    process = subprocess.Popen(
        command(program, *options), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not when() and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(delay)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors
