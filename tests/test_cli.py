"""How programs end: one line for what a user can mend, whichever program it is."""

import ctypes
import os

import pytest
import tensorflow as tf
from absl import app, flags, logging

from fada_tf import cli, errors, forms, machine
from fada_tf.config import Config
from fada_tf.errors import InputError, shortage
from fada_tf.training import failures

BEYOND_ANY_ADDRESS = 1 << 46  # float32 values
ERRORS = tf.errors
OUT_OF_MEMORY = ERRORS.ResourceExhaustedError(
    None,
    None,
    "{{function_node __wrapped__Fill}} OOM when allocating tensor with shape[70368744177664] and type float\n\t [[.",
)


@pytest.fixture
def ends(monkeypatch, capsys):
    """Runs a function as a program, with the options of the given names and values; returns status and line."""

    def ends(function, **options) -> tuple[int, str]:
        values = flags.FlagValues()
        for name, value in options.items():
            flags.DEFINE_string(name, None, "An option.", flag_values=values)
            values[name].value = value
        values.mark_as_parsed()
        monkeypatch.setattr(flags, "FLAGS", values)
        monkeypatch.setattr(logging, "use_absl_handler", lambda: None)
        monkeypatch.setattr(app, "run", lambda main, flags_parser: main(["program"]))
        with pytest.raises(SystemExit) as end:
            cli.run(lambda argv: function())
        return end.value.code, capsys.readouterr().err

    return ends


def exhaust():
    raise OUT_OF_MEMORY


@pytest.mark.slow  # TensorFlow tries for ten seconds
def test_tensorflow_says_of_memory_what_is_known_here():
    with pytest.raises(ERRORS.ResourceExhaustedError) as error:
        tf.zeros([BEYOND_ANY_ADDRESS])
    assert shortage(error.value).startswith(shortage(OUT_OF_MEMORY).removesuffix(")"))


def test_a_program_that_needs_more_memory_names_its_own_options(ends):
    status, text = ends(exhaust, batch_size="", height="", scales="", images="")
    assert status == cli.INPUT_ERROR_STATUS
    assert text.startswith("error: memory is used up (OOM when allocating tensor with shape[70368744177664] ")
    assert text.endswith("): give a smaller --batch_size, --height, fewer --scales\n") and text.count("\n") == 1
    assert "use another device" in ends(exhaust)[1]


def test_a_stopped_program_says_so_with_a_status_of_its_own(ends):
    def stop():
        raise errors.Stopped("stopped by SIGTERM at iteration 1")

    assert ends(stop) == (75, "stopped by SIGTERM at iteration 1\n")


def test_a_program_runs_its_model_in_the_form_that_it_was_told(ends):
    seen = []

    def stop():
        seen.append(forms.for_cpu())
        raise errors.Stopped("")

    for name in ("plain", "cpu"):
        ends(stop, convolutions=name)
    assert seen == [False, True]
    ends(stop)  # a program that runs no model
    assert seen[2:] == [True] and forms.for_cpu()


def test_a_path_that_tensorflow_does_not_take_is_named(ends):
    path = os.fsdecode(b"/data/stra\xdfe")
    status, text = ends(lambda: tf.io.TFRecordWriter(path))
    assert status == cli.INPUT_ERROR_STATUS
    assert text.startswith("error: /data/stra\\udcdfe: TensorFlow takes no name") and text.count("\n") == 1
    with pytest.raises(UnicodeEncodeError):
        ends(lambda: "\xdf".encode("ascii"))


def test_training_that_needs_more_memory_names_what_decides_it(ends):
    status, text = ends(exhaust, config=Config(), run_dir="")
    assert status == cli.INPUT_ERROR_STATUS and text.count("\n") == 1
    for field in ("accumulation_steps", "recompute=True", "precision=mixed_bfloat16", "evaluation.batch_size"):
        assert field in text
    explained = failures.explain(OUT_OF_MEMORY, "run")
    assert isinstance(explained, InputError) and "\n" not in str(explained)
    for field in ("accumulation_steps", "recompute=True", "precision=mixed_bfloat16", "evaluation.batch_size"):
        assert field in str(explained)


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--config.a.b=1", "--set=c=x=y"], ["a.b=1", "c=x=y"]),
        (["--config.a", "1", "-config.b", "--run_dir=x"], ["a=1", "b=True"]),
        (["--noconfig.a", "--config.b="], ["a=False", "b="]),
        (["--config=x.py:source", "--config.records=~/x"], [f"records={os.path.expanduser('~')}/x"]),
    ],
)
def test_a_field_of_the_config_is_set_in_every_way_to_write_an_option(monkeypatch, arguments, settings):
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    flags.DEFINE_string("config", None, "A file.", flag_values=values)
    flags.DEFINE_string("run_dir", None, "A folder.", flag_values=values)
    flags.DEFINE_multi_string("set", [], "A field.", flag_values=values)
    assert cli._parse_flags(["program", *arguments]) == ["program"]
    assert values["set"].value == settings


# By words of the line: errors as TensorFlow, XLA, CUDA, NumPy and Keras raise them.
SHORTAGES = {
    "memory is used up (OOM when allocating tensor": OUT_OF_MEMORY,
    "memory is used up (Out of memory while trying to allocate 9 bytes": ERRORS.InternalError(
        None, None, "Out of memory while trying to allocate 9 bytes. [Op:StatefulPartitionedCall]"
    ),
    "memory is used up (failed to allocate 2.00G": ERRORS.InternalError(
        None, None, "failed to allocate 2.00G (2147483648 bytes) from device"
    ),
    "memory is used up (CUDA_ERROR_OUT_OF_MEMORY": ERRORS.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY"),
    "memory is used up (CUBLAS_STATUS_ALLOC_FAILED": ERRORS.InternalError(None, None, "CUBLAS_STATUS_ALLOC_FAILED"),
    "memory is used up (std::bad_alloc": ERRORS.UnknownError(None, None, "std::bad_alloc"),
    "memory is used up (RESOURCE_EXHAUSTED": RuntimeError("RESOURCE_EXHAUSTED: 9\tbytes"),
    f"memory is used up ({148 * 'a'} ": ERRORS.InternalError(None, None, f"{999 * 'a'} {37 * 'b'} out of memory"),
    "memory is used up (OOM when allocating tensor with shape[1])": RuntimeError(
        "Exception encountered when calling Convolution.call().\n\nOOM when allocating tensor with shape[1]"
    ),
    "memory is used up": MemoryError("Unable to allocate 2.00 PiB for an array with shape (9,)"),
    "cuDNN failed (Could not create cudnn handle": ERRORS.InternalError(None, None, "Could not create cudnn handle"),
    "cuDNN failed (Failed to get convolution algorithm": ERRORS.UnknownError(
        None, None, "Failed to get convolution algorithm."
    ),
    "cuDNN failed (No algorithm worked": ERRORS.NotFoundError(None, None, "No algorithm worked!"),
    "cuDNN failed (DNN library is not found": ERRORS.UnimplementedError(None, None, "DNN library is not found."),
    "cuDNN failed (No DNN in stream executor": ERRORS.InternalError(None, None, "No DNN in stream executor."),
}


@pytest.mark.parametrize("words", SHORTAGES)
def test_a_shortage_is_told_by_what_was_raised(words):
    assert shortage(SHORTAGES[words]).startswith(words)
    assert errors.printable(shortage(SHORTAGES[words])) == shortage(SHORTAGES[words])


@pytest.mark.parametrize(
    "error",
    [ValueError("out of memory"), ERRORS.InvalidArgumentError(None, None, "logits must be 2-D"), RuntimeError("no")],
)
def test_other_errors_keep_their_traceback(monkeypatch, error):
    assert not shortage(error)
    monkeypatch.setattr(app, "run", lambda main, flags_parser: main(["program"]))

    def main(argv):
        raise error

    with pytest.raises(type(error)):
        cli.run(main)


def test_a_full_disk_is_no_lack_of_memory():
    error = ERRORS.ResourceExhaustedError(None, None, "RESOURCE_EXHAUSTED: run/ckpt-1_temp; No space left on device")
    assert "cannot be written or read any more (No space left on device)" in str(failures.explain(error, "run"))


@pytest.mark.parametrize(
    ("cores", "driver", "arenas"), [(2, False, [1]), (1, False, [1]), (64, False, [32]), (2, True, [])]
)
def test_threads_share_memory_by_how_many_there_are(monkeypatch, cores, driver, arenas):
    found = []

    class Library:
        def __init__(self, name):
            self.mallopt = lambda option, value: found.append(value)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(machine, "available_cores", lambda: cores)
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cli._share_memory_arenas()
    assert found == arenas
