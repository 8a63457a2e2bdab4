"""The check of a machine: it passes where numbers are right, and says so where they are not."""

import functools
import io
import itertools
import json
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from fada_tf.training import machine_check

PROGRAM = pathlib.Path(__file__).parents[2] / "scripts" / "check_machine.py"


def numbers(precision):
    build = functools.partial(machine_check._build, "tiny", precision, "CPU:0")
    return functools.partial(machine_check._numbers, build, "CPU:0", xla=False)


@functools.cache
def reference():
    return numbers("float32")()


@pytest.mark.parametrize("precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_low_precision_computes_what_float32_does(precision, request):
    if precision == "mixed_bfloat16":
        request.getfixturevalue("bfloat16")
    finding = machine_check._compare("this", reference, numbers(precision), machine_check._TOLERANCES[precision])
    assert not finding.wrong, finding
    groups = "feature_extractor", "classifier", "discriminator"
    norms = {f"{what}_norm/{group}" for what in ("gradient", "update") for group in groups}
    assert finding.figures["distances"].keys() >= {"logits", "segmentation", "adversarial"} | norms


@pytest.mark.parametrize("value", [1.5, np.nan])
def test_a_wrong_number_is_named(value):
    broken = {**reference(), "adversarial": value * reference()["adversarial"]}
    finding = machine_check._compare("this", lambda: broken, reference, 0.01)
    assert finding.wrong and "(adversarial), 0.01 is allowed" in finding.result


@pytest.mark.slow
def test_numbers_are_computed_again_without_the_update():
    build = functools.cache(functools.partial(machine_check._build, "tiny", "float32", "CPU:0"))
    one, again = (machine_check._numbers(build, "CPU:0", xla=False) for _ in range(2))
    for name, value in one.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-6, err_msg=name)


def test_all_reduce_of_two_replicas(two_replicas):
    assert machine_check._all_reduce(two_replicas).result == "2 replicas: sum 3"


def test_a_gpu_that_only_the_driver_sees_is_wrong(monkeypatch):
    card = {"name": "Card", "memory.total": "1024", "driver_version": "1.2"}
    monkeypatch.setattr(machine_check, "driver", lambda: [card])
    finding = machine_check._devices(tf.distribute.get_strategy())
    assert finding.wrong and "Card with driver 1.2 is there, but TensorFlow sees no GPU" in finding.result


@pytest.mark.parametrize(
    "error",
    [tf.errors.ResourceExhaustedError(None, None, "no memory left\nmore lines"), RuntimeError("no memory left")],
)
def test_every_check_is_made_also_after_one_that_failed(error):
    def fails():
        raise error

    stream = io.StringIO()
    checks = {"first": fails, "second": lambda: machine_check.Finding("second", "fine", {"value": 1})}
    findings = machine_check.make(checks.items(), stream, limit=60)
    assert [finding.wrong for finding in findings] == [True, False]
    lines = [line.split(maxsplit=2) for line in stream.getvalue().splitlines()]
    assert lines == [["WRONG", "first", "failed: no memory left"], ["ok", "second", "fine"]]


def test_devices_that_cannot_be_started_are_a_finding(monkeypatch):
    def fails():
        raise RuntimeError("CUDA_ERROR_SYSTEM_NOT_READY")

    monkeypatch.setattr(machine_check, "make_strategy", fails)
    checks = itertools.islice(machine_check.check_all("automatic"), 3)
    findings = machine_check.make(checks, io.StringIO(), limit=60)
    assert [finding.wrong for finding in findings] == [False, True, True]
    assert findings[1].result == "failed: CUDA_ERROR_SYSTEM_NOT_READY"


def test_numbers_that_are_none_leave_the_file_whole(tmp_path):
    checks = (
        "('first', lambda: machine_check.Finding('first', 'nan', {'distance': float('nan')}, wrong=True)),"
        "('second', lambda: machine_check.Finding('second', 'not measured', {}, measured=False))"
    )
    probe = (
        "import runpy, sys\nfrom fada_tf.training import machine_check\n"
        f"machine_check.check_all = lambda precision: [{checks}]\n"
        "sys.argv = ['check_machine', '--output=new/machine.json']\n"
        f"runpy.run_path('{PROGRAM}', run_name='__main__')"
    )
    run = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert "1 wrong of 2 checks, 1 not measured (--limit=200)" in run.stdout.splitlines()[-1]
    text = (tmp_path / "new/machine.json").read_text()
    assert "NaN" not in text and json.loads(text)["not_measured"] == 1
    assert json.loads(text)["checks"][0]["figures"] == {"distance": None}


def test_a_check_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(machine_check, "_GRACE", 0.5)
    never, stream = threading.Event(), io.StringIO()
    checks = [
        ("first", lambda: machine_check.Finding("first", "fine", {})),
        ("endless", never.wait),
        ("last", never.wait),
    ]
    findings = machine_check.make(checks, stream, limit=0.5)
    never.set()
    assert [finding.measured for finding in findings] == [True, False, False]
    assert [finding.wrong for finding in findings] == [False] * 3
    assert "-      endless                                  not over after 1 s" in stream.getvalue()


def test_what_may_not_fit_into_the_limit_is_not_measured(monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(machine_check.time, "perf_counter", lambda: seconds[0])

    def lasting(time):
        def check():
            seconds[0] += time
            return machine_check.Finding("this", "fine", {})

        return "this", check

    stream = io.StringIO()
    findings = machine_check.make(map(lasting, [1, 30, 20, 5, 5]), stream, limit=100)
    assert all(finding.measured for finding in findings)
    seconds[0] = 0.0
    findings = machine_check.make(map(lasting, [1, 30, 40, 5, 5]), stream, limit=100)
    assert [finding.measured for finding in findings] == [True, True, True, False, False]
    assert not any(finding.wrong for finding in findings)
    last = stream.getvalue().splitlines()[-1].split(maxsplit=2)[2]
    assert seconds[0] <= 100 and last == "not measured: no time left within --limit=100: give --limit=300"
    seconds[0] = 0.0
    findings = machine_check.make(map(lasting, [1, 30, 40]), stream, limit=100, spent=50)
    assert [finding.measured for finding in findings] == [True, True, False]


def test_users_read_first_what_they_need_most():
    names = [name for name, _ in machine_check.check_all("automatic")]
    assert len(names) == len(set(names)) == 17
    assert names[3] == "speed of the input"  # where there is no GPU whose float32 can be compared
    assert names.index("memory") == names.index("speed of training") + 1
    last = names[names.index("memory") + 1 :]
    assert len(last) == 10 and all("float16" in name or "XLA" in name for name in last)


@pytest.mark.slow
def test_this_machine_is_sound(tmp_path):
    command = [sys.executable, PROGRAM, f"--output={tmp_path / 'machine.json'}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads((tmp_path / "machine.json").read_text())
    assert result["wrong"] == 0
    assert len(result["checks"]) == len(run.stdout.splitlines()) - 1


def test_the_speed_of_the_input_is_that_of_records_made_as_a_data_sets_are(monkeypatch):
    monkeypatch.setattr(machine_check, "_INPUT_SECONDS", 0.1)
    finding = machine_check._input_speed((32, 64))
    assert not finding.wrong and finding.figures["images_per_second"] > 0
    assert finding.figures["size"] == (32, 64)
