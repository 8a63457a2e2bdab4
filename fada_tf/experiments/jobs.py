"""Jobs: programs that are started one after the other, each in a process of its own, each only once."""

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import json
import math
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fada_tf import command, migration, progress
from fada_tf.data import files
from fada_tf.errors import InputError
from fada_tf.runs import layout

_BAR = "{n_fmt}/{total_fmt} {desc}"
_NAMED = 3  # settings that differ
_SECONDS = 1.0  # between what a bar shows of a job


@dataclasses.dataclass(frozen=True)
class Job:
    """A program and what it is started with.

    Attributes:
      name: unique, with `/` between its parts.
      program: the file in `fada_tf/programs/` without its suffix.
      options: of the command line.
      output: the file or folder that is there when it is done.
      once: whether the output of other settings is kept and is an error, instead of being written anew.
      after: names of the jobs whose outputs it reads.
      settings: what decides its output, as text; empty: the options do.
      copies: a folder that becomes the output before the program continues it; empty: none.
      kind: jobs of one kind take time in proportion to their size; those whose kinds begin with the same word roughly.
      size: of the work, in any unit.
    """

    name: str
    program: str
    options: tuple[str, ...]
    output: str
    once: bool = False
    after: tuple[str, ...] = ()
    settings: str = ""
    copies: str = ""
    kind: str = ""
    size: float = 1.0


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a job took, of all the times that it was started until it was done.

    Attributes:
      seconds: by the clock.
      peak_bytes: the most memory that its process, or one of those that this started, held; 0: not known.
    """

    seconds: float = 0.0
    peak_bytes: int = 0


def costs(jobs: Sequence[Job], folder: str) -> dict[str, Cost]:
    """Returns the costs, by name, of the jobs that `run` has done in a folder, where they were measured from the start.

    Args:
      jobs: all that were given to `run`, or the first ones.
      folder: likewise.
    """
    keys = _keys(jobs)
    states = {job.name: _state(job, folder) for job in jobs if _is_done(job, keys[job.name], folder)}
    return {name: Cost(**state["cost"]) for name, state in states.items() if state.get("cost")}


def commands(jobs: Sequence[Job]) -> Iterator[str]:
    """Yields the shell commands that do what `run` does."""
    for job in jobs:
        if job.copies:
            yield shlex.join(["cp", "-r", job.copies, job.output])
        yield shlex.join(["fada-tf", job.program, *job.options])


def run(
    jobs: Sequence[Job],
    folder: str,
    finished: Callable[[Job], object] = lambda job: None,
    running: Callable[[Job], object] | None = None,
) -> None:
    """Runs the jobs in order with a progress bar; those that are done are skipped, an interrupted one continues.

    Whoever stops this program, or raises an error in one of the two calls, stops the job too.

    Args:
      jobs: in an order in which each comes after those whose outputs it reads.
      folder: gets NAME.json, what a job was run with, and NAME.log, what it printed.
      finished: called after every job, also after a skipped one.
      running: called every second while a job runs, instead of the bar; None: there is the bar.

    Raises:
      InputError: a job failed, or its output is that of other settings.
    """
    files.make_folder(folder)
    keys = _keys(jobs)
    for job in jobs:
        _check_output(job, keys[job.name], folder)
    hidden = running is not None
    with _stopped_with_this_program(), progress.bar(len(jobs), "", bar_format=_BAR, disable=hidden) as bar:
        for index, job in enumerate(jobs):
            bar.set_description_str(job.name)
            if not _is_done(job, keys[job.name], folder):
                show = _Progress(bar, jobs[index:], keys, folder).show
                _run_one(job, keys[job.name], folder, functools.partial(_tell, job, running) if running else show)
            finished(job)
            bar.update()


def _tell(job: Job, running: Callable[[Job], object], *_: object) -> None:
    running(job)


@contextlib.contextmanager
def _stopped_with_this_program() -> Iterator[None]:
    """Ends what is inside, and so its job, when a signal ends the program; the main thread alone may handle signals."""
    numbers = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    handlers = {number: signal.getsignal(number) for number in numbers}
    # nohup ignores a signal; a handler that is not Python's cannot be put back.
    before = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keys(jobs: Sequence[Job]) -> dict[str, str]:
    """Returns a digest of everything that decides each job's output, the jobs before it included."""
    keys: dict[str, str] = {}
    for job in jobs:
        parts = [job.program, job.settings or job.options, job.copies, [keys[name] for name in job.after]]
        keys[job.name] = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return keys


def _state_path(job: Job, folder: str) -> str:
    return os.path.join(folder, job.name.replace("/", "."))


def _state(job: Job, folder: str) -> dict:
    path = _state_path(job, folder) + ".json"
    return json.loads(files.read_bytes(path)) if files.exists(path) and files.exists(job.output) else {}


def _is_done(job: Job, key: str, folder: str) -> bool:
    state = _state(job, folder)
    return state.get("key") == key and "seconds" in state


def _check_output(job: Job, key: str, folder: str) -> None:
    state = _state(job, folder)
    if job.once and state and state["key"] != key:
        changes = _changes(state.get("settings", ""), job.settings)
        more = [f"{len(changes) - _NAMED} more"] if len(changes) > _NAMED else []
        listed = f" ({', '.join(changes[:_NAMED] + more)})" if changes else ""
        raise InputError(
            f"{job.output} was made with other settings than {job.name} has now{listed}: "
            f"delete it to make it anew, or {_state_path(job, folder)}.json to keep it, or use another folder"
        )


def _changes(before: str, now: str) -> list[str]:
    """Returns "FIELD was VALUE and is VALUE" for what differs between `settings` of a job then and now."""
    if not before:  # of an earlier version, which did not write them down
        return []
    one, other = _listed(before), _listed(now)
    defaults = {name: (default, default) for name, (default, _) in (one | other).items()}
    one, other = defaults | one, defaults | other
    return [f"{name} was {one[name][1]} and is {other[name][1]}" for name in defaults if one[name] != other[name]]


def _listed(settings: str) -> dict[str, tuple[str, str]]:
    """Returns default and value of every field in "FIELD: DEFAULT, VALUE; FIELD: VALUE", by its name of today."""
    texts = re.findall(r"(?:^|; )([\w.]+): (.*?)(?=; [\w.]+: |$)", settings)
    parts = {migration.MOVED.get(name, name): text.partition(", ") for name, text in texts}
    return {name: (default, value or default) for name, (default, _, value) in parts.items()}


def _run_one(job: Job, key: str, folder: str, show: Callable[[str, float], object]) -> None:
    path = _state_path(job, folder)
    if job.copies and not files.exists(job.output):
        # What was measured of the copied run is not of this one.
        files.copy_folder(job.copies, files.partial_name(job.output), without=layout.MEASUREMENTS)
        files.rename(files.partial_name(job.output), job.output)
    line = command.line(job.program, *job.options)
    before = _cost_before(_state(job, folder), key)
    # Without a cost: if this program is killed now, nobody knows what the job took.
    state = {"key": key, "kind": job.kind, "size": job.size, "command": shlex.join(line), "settings": job.settings}
    files.write_atomically(path + ".json", json.dumps(state, indent=1).encode())
    start = time.monotonic()
    with _local(path + ".log") as log_path, open(log_path, "ab") as log:
        begin = log.tell()
        # A terminal sends Ctrl-C to every process of its session, this program sends the job a signal too, and the
        # second one would kill it: so the job has a session of its own.
        environment = command.environment() | {"PYTHONUNBUFFERED": "1"}
        process = _Process(line, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        try:
            while process.poll() is None:
                _wait(process, 1)
                show(_last_line(log_path, begin), time.monotonic() - start)
        finally:
            if process.poll() is None:
                _say_stopping(job)
            _stop(process)
            seconds = time.monotonic() - start
            if before is not None:
                peak = max(before.peak_bytes, process.peak_bytes)
                state["cost"] = dataclasses.asdict(Cost(before.seconds + seconds, peak))
                files.write_atomically(path + ".json", json.dumps(state, indent=1).encode())
        last_line = _last_line(log_path, begin)
    if process.returncode:
        raise InputError(
            f"{job.name} ended with status {process.returncode} ({last_line}): "
            f"{path}.log tells more; mend the cause and run the same command again"
        )
    state["seconds"] = seconds
    files.write_atomically(path + ".json", json.dumps(state, indent=1).encode())


def _cost_before(state: Mapping[str, Any], key: str) -> Cost | None:
    """Returns what a job took that was stopped before it was done; None where that was not written down."""
    if state.get("key") != key:
        return Cost()
    return Cost(**state["cost"]) if state.get("cost") else None


class _Process(subprocess.Popen):
    """A process that tells how much memory it took.

    Attributes:
      peak_bytes: as those of `Cost`, when it has ended.
    """

    def __init__(self, *arguments: Any, **options: Any):
        # A process starts as a copy of this one, whose own peak is counted with it: less than that tells nothing.
        self._least = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.peak_bytes = 0
        super().__init__(*arguments, **options)

    def poll(self) -> int | None:
        """Returns the exit status; None while it runs."""
        if self.returncode is None:
            try:
                ended, status, usage = os.wait4(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it
                return super().poll()
            if ended:
                unit = 1 if sys.platform == "darwin" else 1024
                self.peak_bytes = unit * usage.ru_maxrss if usage.ru_maxrss > self._least else 0
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _wait(process: _Process, seconds: float) -> None:
    """Waits for a process, at most some seconds; `Popen.wait` would lose how much memory it took."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)


@contextlib.contextmanager
def _local(path: str) -> Iterator[str]:
    """Yields a local file that a process can append to, and copies it to its place at the end if that is remote."""
    if not files.is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, "log")
        files.write_atomically(local, files.read_bytes(path) if files.exists(path) else b"")
        try:
            yield local
        finally:
            files.write_atomically(path, files.read_bytes(local))


def _say_stopping(job: Job) -> None:
    what = f"{job.name} writes a checkpoint first" if job.program == "train" else job.name
    below = "\n" if progress.is_live() else ""  # the bar
    with contextlib.suppress(OSError):  # the terminal may be gone
        sys.stderr.write(f"{below}stopping: {what}; once more ends it at once\n")
        sys.stderr.flush()


def _stop(process: _Process) -> None:
    """Asks a job to stop and waits until it has, for example written its checkpoint; whoever cannot wait asks again."""
    while process.poll() is None:
        process.terminate()
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            _wait(process, math.inf)


def _last_line(path: str, begin: int) -> str:
    """Returns the last line that a job has printed; a progress bar's lines end in carriage returns."""
    with open(path, "rb") as log:
        log.seek(max(begin, log.seek(0, os.SEEK_END) - 4096))
        lines = [line.strip() for line in re.split(r"[\r\n]", log.read().decode(errors="replace"))]
    return next((line for line in reversed(lines) if line), "")


class _Progress:
    """Shows the running job's last line, and the time that it and the jobs after it will take."""

    def __init__(self, bar: Any, jobs: Sequence[Job], keys: dict[str, str], folder: str):
        self.bar, self.folder = bar, folder
        self.jobs = [job for job in jobs if not _is_done(job, keys[job.name], folder)]
        self._rates = self._read_rates()
        self._first_share: float | None = None  # what a continued job had done before
        self._next = time.monotonic() + _SECONDS

    def show(self, line: str, seconds: float) -> None:
        """Prints the line, if it is time to, of a job that has run for some seconds."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _SECONDS
        part = re.search(r"(\d+)/(\d+)", line)
        share = int(part[1]) / max(int(part[2]), 1) if part else 0.0
        self._first_share = share if self._first_share is None and part else self._first_share
        running = self.jobs[0]
        if self._first_share is not None and share > self._first_share + 0.02:
            whole = seconds * (1 - self._first_share) / (share - self._first_share)
            self._rates[running.kind] = whole / max(running.size, 1)
        estimates = [self._estimate(job) for job in self.jobs]
        left = sum(estimate for estimate in estimates if estimate) - min(seconds, estimates[0] or 0)
        text = str(datetime.timedelta(seconds=round(max(left, 0)))) if any(estimates) else "not known yet"
        unknown = any(estimates) and None in estimates
        self.bar.set_description_str(f"{running.name} | {line[:110]} | all: ETA {'over ' if unknown else ''}{text}")

    def _estimate(self, job: Job) -> float | None:
        """Returns the seconds that a job takes, of its kind's speed or else that of kinds like it; None: not known."""
        alike = [rate for kind, rate in self._rates.items() if kind.partition(" ")[0] == job.kind.partition(" ")[0]]
        rate = self._rates.get(job.kind, sum(alike) / len(alike) if alike else None)
        return None if rate is None else rate * job.size

    def _read_rates(self) -> dict[str, float]:
        """Returns seconds by unit of size for every kind of job that has been done in this folder."""
        sums: dict[str, list[float]] = {}
        for name in files.list_folder(self.folder):
            if name.endswith(".json"):
                state = json.loads(files.read_bytes(os.path.join(self.folder, name)))
                if "seconds" in state:
                    total = sums.setdefault(state["kind"], [0.0, 0.0])
                    total[0] += state["seconds"]
                    total[1] += state["size"]
        return {kind: seconds / size for kind, (seconds, size) in sums.items()}
