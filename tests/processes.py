"""Starting the real programs, and ending them in the middle of their work."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).parents[1]
PATIENCE = 300  # seconds


def command(program: str, *options: str) -> list[str]:
    """Returns the command line of fada-tf PROGRAM."""
    return [sys.executable, str(ROOT / "scripts" / f"{program}.py"), *options]


def run(folder: pathlib.Path, program: str, *options: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess:
    """Runs fada-tf PROGRAM in `folder` and returns what it printed and how it ended."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.run(
        command(program, *options), cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout
    )


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
