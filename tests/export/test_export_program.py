"""The export's program: what it makes of its options, of missing packages and of pictures that are hard to read."""

import pathlib
import struct
import subprocess
import zlib

import pytest

from fada_tf.data.images import encode_png
from tests import trained
from tests.pictures import picture_file
from tests.processes import ROOT, run

# What is changed before the program starts; in `PLANNED` it prints its plan instead of exporting.
PLANNED = (
    "import fada_tf.export.version as version\n"
    "version.export_version = lambda plan, pictures, report: (plan.formats, plan.models, len(pictures))\n"
)
WITHOUT_EXTRA = "import sys\nsys.modules['tensorflow_serving'] = None\n"


def one_line(result: subprocess.CompletedProcess) -> str:
    """Returns the line that the program ends with on bad input."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture
def options(trained_run, tmp_path) -> list[str]:
    (tmp_path / "a.png").write_bytes(encode_png(trained.pictures(1)[0]))
    return [f"--checkpoint={trained_run}", f"--images={tmp_path}", f"--models={tmp_path}/models"]


def test_several_formats_with_a_comma_or_one_by_one(options):
    result = run(ROOT, "export_model", *options, "--format=litert,onnx", "--format=onnx, saved_model", first=PLANNED)
    assert result.returncode == 0, result.stderr
    assert "written: (('litert', 'onnx')," in result.stdout


def test_without_the_extra_there_is_one_line(options):
    assert one_line(run(ROOT, "export_model", *options, first=WITHOUT_EXTRA)) == (
        "error: an export needs the package tensorflow-serving-api: pip install -e '.[serving]'"
    )


@pytest.mark.parametrize(
    ("option", "words"),
    [("--height=-8", "--height=-8"), ("--width=-1", "--width=-1"), ("--warmup_sizes=8x-8", "'8x-8'"),
     ("--warmup_batches=0", "'0'"), ("--format=tflite", "--format=tflite")],
)  # fmt: skip
def test_numbers_and_words_that_cannot_work(options, tmp_path, option, words):
    assert words in one_line(run(tmp_path, "export_model", *options, option))
    assert not (tmp_path / "models").exists()


def test_a_picture_that_only_some_programs_can_read_is_used_or_named(options, tmp_path):
    good = picture_file("RGB")
    start = good.index(b"IDAT")
    (length,) = struct.unpack(">I", good[start - 4 : start])
    end = start + 4 + length
    wrong = struct.pack(">I", zlib.crc32(good[start:end]) ^ 1)
    pathlib.Path(tmp_path, "checksum.png").write_bytes(good[:end] + wrong + good[end + 4 :])
    result = run(ROOT, "export_model", *options, first=PLANNED)
    if result.returncode:
        assert "checksum.png" in one_line(result)
    else:
        assert "/models', 2)" in result.stdout
