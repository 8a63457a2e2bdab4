"""Jobs: what is done is skipped, what stopped continues, what changed is refused; with programs that take no time."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from fada_tf import command
from fada_tf.data import files
from fada_tf.errors import InputError
from fada_tf.experiments import jobs
from fada_tf.experiments.jobs import Job

# Appends its text to OUTPUT/log; fails while there is a file named "broken".
PROGRAM = """
import os, sys
output, text = sys.argv[1], sys.argv[2]
os.makedirs(output, exist_ok=True)
with open(os.path.join(output, "log"), "a") as log:
    log.write(text + "\\n")
print("1/2 half", end="\\r", flush=True)
if os.path.exists("broken"):
    sys.exit("error: it is broken")
"""


DRIVER = """
import signal, sys
from fada_tf import command
from fada_tf.experiments.jobs import Job, run
command.line = lambda program, *options: [sys.executable, f"programs/{program}.py", *options]
signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells ignore in the background
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup this
run([Job('long', 'train', ('long',), output='long')], 'state')
"""


def line(program: str, *options: str) -> list[str]:
    """Starts programs of the test's folder instead of the library's."""
    return [sys.executable, f"programs/{program}.py", *options]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> pathlib.Path:
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "note.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "line", line)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


def note(name: str, text: str, **options) -> Job:
    return Job(name, "note", (name, text), output=name, **options)


def run(*todo: Job) -> list[str]:
    """Runs the jobs; returns the names of those that were finished or skipped."""
    finished = []
    jobs.run(todo, "state", finished=lambda job: finished.append(job.name))
    return finished


def log(name: str) -> list[str]:
    return pathlib.Path(name, "log").read_text().split()


def test_what_is_done_is_not_done_again(folder):
    todo = note("a/train", "one"), note("a/score", "two", after=("a/train",))
    assert run(*todo) == run(*todo) == ["a/train", "a/score"]
    assert log("a/train") == ["one"] and log("a/score") == ["two"]
    state = json.loads((folder / "state/a.score.json").read_text())
    assert state["command"].endswith("programs/note.py a/score two") and state["seconds"] > 0


def test_a_log_of_the_work_has_whole_lines(folder, capsys):
    run(note("a", "1"), note("b", "2"))
    assert capsys.readouterr().err == "2/2 b\n"


def test_a_failure_stops_with_its_last_words_and_the_next_run_goes_on(folder):
    todo = note("first", "1", once=True), note("second", "2", once=True, after=("first",))
    run(todo[0])
    (folder / "broken").touch()
    with pytest.raises(InputError, match=r"second ended with status 1 \(error: it is broken\): state/second.log tells"):
        run(*todo)
    (folder / "broken").unlink()
    run(*todo)
    assert log("first") == ["1"] and log("second") == ["2", "2"]


def test_the_cost_of_a_job_is_that_of_all_its_pieces(folder):
    todo = [note("a", "1", once=True), note("b", "2", after=("a",))]
    (folder / "broken").touch()
    with pytest.raises(InputError, match="it is broken"):
        run(*todo)
    first = json.loads((folder / "state/a.json").read_text())
    assert first["cost"]["seconds"] > 0 and "seconds" not in first
    assert jobs.costs(todo, "state") == {}  # not done
    (folder / "broken").unlink()
    run(*todo)
    both = json.loads((folder / "state/a.json").read_text())
    assert both["cost"]["seconds"] == pytest.approx(first["cost"]["seconds"] + both["seconds"], abs=1e-6)
    found = jobs.costs(todo, "state")
    assert found.keys() == {"a", "b"} and found["a"].seconds == both["cost"]["seconds"]
    assert found["a"].peak_bytes == 0  # less than this process holds, which cannot be told from it
    assert jobs.costs([note("a", "other")], "state") == {}


@pytest.mark.parametrize("done", [False, True])
def test_a_job_of_which_a_piece_was_not_measured_has_no_cost(folder, done):
    todo = note("a", "1", once=True)
    run(todo)
    state = json.loads((folder / "state/a.json").read_text())
    unmeasured = {name: value for name, value in state.items() if name != "cost" and (done or name != "seconds")}
    (folder / "state/a.json").write_text(json.dumps(unmeasured))  # as before costs were kept, or after a kill
    run(todo)
    assert log("a") == ["1"] * (1 if done else 2)
    assert jobs.costs([todo], "state") == {}


# Holds 160 million bytes in a process that it starts.
LARGE_PROGRAM = """
import os, subprocess, sys
os.makedirs(sys.argv[1])
subprocess.run([sys.executable, "-c", "kept = bytearray(b'1') * 160_000_000"], check=True)
"""


def test_the_memory_of_a_job_is_that_of_its_largest_process(folder):
    (folder / "programs" / "train.py").write_text(LARGE_PROGRAM)
    # By a shell: what a large process starts, as the one of the tests is, counts the memory of that one as its own.
    driver = [sys.executable, "-c", DRIVER.replace("'long'", "'large'")]
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *driver], env=environment, check=True, timeout=60)
    job = Job("large", "train", ("large",), output="large")
    assert 160e6 < jobs.costs([job], "state")["large"].peak_bytes < 220e6


def test_other_settings_before_it_make_a_score_again_and_refuse_a_run(folder):
    run(note("train", "1", settings="x", once=True), note("score", "s", after=("train",)))
    with pytest.raises(
        InputError,
        match=r"train was made with other settings .*delete .*state/train.json to keep it, or use another folder$",
    ):
        run(note("train", "1", settings="y", once=True), note("score", "s", after=("train",)))
    (folder / "train/log").unlink()
    (folder / "train").rmdir()
    run(note("train", "1", settings="y", once=True), note("score", "s", after=("train",)))
    assert log("train") == ["1"] and log("score") == ["s", "s"]


def test_a_refusal_names_the_settings_that_differ(folder):
    before, now = "optimizer.horizon: 62500, 900; model.head: 'deeplab', 'a; b'; iterations: 6", "iterations: 8"
    run(note("train", "1", once=True, settings=f"training.batch_size: 1, 2; seed: 0, 1; {before}"))
    words = (
        r"has now \(training\.batch_size was 2 and is 4, schedule\.horizon was 900 and is 62500, "
        r"model\.head was 'a; b' and is 'deeplab', 1 more\): delete"
    )
    with pytest.raises(InputError, match=words):
        run(note("train", "1", once=True, settings=f"training.batch_size: 1, 4; seed: 0, 1; {now}"))


def test_a_job_continues_a_copy_of_another_ones_output_without_its_scores(folder):
    short = note("short", "1", once=True)
    run(short)
    (folder / "short/scores").mkdir()
    todo = short, note("long", "2", once=True, copies="short", after=("short",))
    run(*todo)
    assert log("long") == ["1", "2"] and log("short") == ["1"]
    assert not (folder / "long/scores").exists()
    assert list(jobs.commands(todo))[1:] == ["cp -r short long", "fada-tf note long 2"]


def test_logs_of_jobs_may_lie_in_a_bucket(folder):
    for text in ("one", "two"):
        jobs.run([note("a", text)], "ram://jobs/state")
    assert files.read_bytes("ram://jobs/state/a.log").split() == 2 * [b"1/2", b"half"]
    assert log("a") == ["one", "two"]


def test_a_folder_is_copied_to_and_from_a_bucket(folder):
    for path in ("a/x", "a/scores/y", "a/b/scores"):
        files.make_folder(os.path.dirname(path))
        files.write_atomically(path, path.encode())
    files.copy_folder("a", "ram://copies/a", without=("scores",))
    files.copy_folder("ram://copies/a", "c")
    assert files.walk("c") == ["b/scores", "x"]
    assert files.read_bytes("c/b/scores") == b"a/b/scores"


# Takes a second to stop after a signal, and ends at once after two.
STOPPING_PROGRAM = """
import os, signal, sys, time
output, signals = sys.argv[1], []
def handle(number, frame):
    signals.append(number)
    if len(signals) == 2:
        os._exit(1)
signal.signal(signal.SIGTERM, handle)
signal.signal(signal.SIGINT, handle)
os.makedirs(output)
while not signals:
    time.sleep(0.01)
open(os.path.join(output, "stopping"), "w").close()
time.sleep(1)
open(os.path.join(output, "checkpoint"), "w").close()
"""


@pytest.fixture
def driver(folder):
    """A process that runs one long job, in a group of its own, as a terminal's."""
    (folder / "programs" / "train.py").write_text(STOPPING_PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    with open(folder / "stderr", "wb") as stderr:
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER], env=environment, stderr=stderr, start_new_session=True
        )
    wait_for(folder / "long")
    yield driver
    if driver.poll() is None:
        driver.kill()
        driver.wait()


def wait_for(path: pathlib.Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("group", [False, True])
def test_stopping_the_driver_stops_its_job_which_may_write_a_checkpoint(folder, driver, number, group):
    (child,) = subprocess.run(["pgrep", "-P", str(driver.pid)], capture_output=True, text=True).stdout.split()
    (os.killpg if group else os.kill)(driver.pid, number)
    assert driver.wait(timeout=20) in (128 + number, -number)
    assert (folder / "long/checkpoint").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(child), 0)
    state = json.loads((folder / "state/long.json").read_text())
    assert "seconds" not in state and state["cost"]["seconds"] > 1


def test_stopping_the_driver_twice_ends_its_job_at_once(folder, driver):
    driver.terminate()
    wait_for(folder / "long/stopping")
    said = (folder / "stderr").read_text().splitlines()
    assert said == ["stopping: long writes a checkpoint first; once more ends it at once"]
    driver.terminate()
    assert driver.wait(timeout=20) == 128 + signal.SIGTERM
    assert not (folder / "long/checkpoint").exists()


class Bar:
    text = ""

    def set_description_str(self, text):
        self.text = text


def test_the_time_left_is_measured_on_jobs_of_the_same_kind(folder):
    todo = [note("a", "1", kind="k", size=2.0), note("b", "1", kind="k", size=20.0), note("c", "1", kind="other")]
    run(todo[0])
    state = json.loads((folder / "state/a.json").read_text()) | {"seconds": 6.0}
    (folder / "state/a.json").write_text(json.dumps(state))

    progress = jobs._Progress(Bar(), todo, jobs._keys(todo), "state")
    progress._next = 0
    progress.show("loss 1.0", 10.0)
    assert progress.bar.text == "b | loss 1.0 | all: ETA over 0:00:50"
    progress._next, progress._first_share = 0, 0.25
    progress.show("8/16 loss 0.5", 10.0)
    assert progress.bar.text.endswith("ETA over 0:00:20")


def test_the_time_left_counts_later_trainings_before_any_is_done(folder):
    kinds = {"source": 300.0, "fada": 230.0, "mic": 340.0}
    todo = [note(name, "1", kind=f"train {name}", size=size) for name, size in kinds.items()]
    (folder / "state").mkdir()
    progress = jobs._Progress(Bar(), todo, jobs._keys(todo), "state")
    progress._next = 0
    progress.show("0/300", 5.0)
    assert progress.bar.text.endswith("all: ETA not known yet")
    progress._next = 0
    progress.show("150/300", 75.0)
    assert progress.bar.text.endswith("all: ETA 0:06:00")  # half of the first one's 150 s, 115 s and 170 s
