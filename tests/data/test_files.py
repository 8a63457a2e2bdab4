import json
import os
import sys

import pytest
import tensorflow as tf

from fada_tf.data import files
from fada_tf.errors import InputError


def touch(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_hidden_files_and_folders_below_the_given_folder_are_no_data(tmp_path):
    folder = tmp_path / ".photos"  # the given folder may be hidden itself
    for name in ("a.jpg", "._a.jpg", ".ipynb_checkpoints/a-checkpoint.jpg", "b/c.jpg", "b/.d/e.jpg"):
        touch(folder / name)
    assert files.walk(str(folder)) == ["a.jpg", "b/c.jpg"]
    assert files.list_folder(str(folder)) == ["a.jpg", "b"]


def test_hidden_files_of_remote_folders_are_no_data():
    for name in ("a.jpg", ".b.jpg", ".c/d.jpg", "e/f.jpg"):
        tf.io.gfile.makedirs(os.path.dirname(f"ram://hidden/{name}"))
        with tf.io.gfile.GFile(f"ram://hidden/{name}", "wb") as file:
            file.write(b"x")
    assert files.walk("ram://hidden") == ["a.jpg", "e/f.jpg"]


def test_links_to_folders_above_are_not_entered_and_others_are(tmp_path):
    for name in ("in/a.jpg", "in/sub/b.jpg", "elsewhere/c.jpg"):
        touch(tmp_path / name)
    links = {
        "in/self": "in",
        "in/again": "in",  # two of them never ended
        "in/sub/up": "in",
        "in/out": "",  # above the given folder
        "in/root": "/",
        "in/first": "elsewhere",
        "in/second": "elsewhere",
        "elsewhere/back": "in",  # a loop that no single link closes
    }
    for link, target in links.items():
        (tmp_path / link).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "in/broken").symlink_to(tmp_path / "in/broken")
    found = [path for path in files.walk(str(tmp_path / "in")) if path.endswith(".jpg")]
    assert found == ["a.jpg", "first/c.jpg", "second/c.jpg", "sub/b.jpg"]


def test_names_that_are_not_utf8_are_kept_in_json():
    name = os.fsdecode(b"stra\xdfe")
    text = files.json_text({"folder": name, "class": "Stra\xdfe"})
    assert json.loads(text.encode()) == {"folder": name, "class": "Stra\xdfe"}
    assert "Stra\xdfe" in text


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(tmp_path):
    touch(tmp_path / "file")
    with pytest.raises(InputError, match=r"file cannot be listed \(Not a directory\)"):
        files.walk(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("scheme", "way"),
    [("gs", r"pip install -e '\.\[gcs\]' adds it on Python 3\.10 to 3\.12"), ("s3", "copy the files")],
)
@pytest.mark.parametrize("function", [files.exists, files.is_folder, files.read_bytes, files.list_folder, files.walk])
def test_a_scheme_that_tensorflow_does_not_read_is_one_line(function, scheme, way, monkeypatch):
    # The wheels of some systems read gs://, those of others do not.
    monkeypatch.setattr(tf.io.gfile, "get_registered_schemes", lambda: ["", "file", "ram"])
    monkeypatch.setitem(sys.modules, "tensorflow_io_gcs_filesystem", None)  # the extra is not installed
    with pytest.raises(InputError, match=rf"^{scheme}://bucket/a: this TensorFlow reads no {scheme}:// .*: {way}"):
        function(f"{scheme}://bucket/a")


def test_the_extra_package_adds_a_scheme(monkeypatch):
    schemes = ["file"]
    monkeypatch.setattr(tf.io.gfile, "get_registered_schemes", lambda: schemes)
    monkeypatch.setattr(tf.io.gfile, "exists", lambda path: path == "gs://bucket/a")
    monkeypatch.setattr(files.importlib, "import_module", lambda name: schemes.append("gs"))
    assert files.exists("gs://bucket/a")


def test_a_scheme_that_tensorflow_reads_is_read():
    files.write_atomically("ram://files/a", b"b")
    assert files.read_bytes("ram://files/a") == b"b"
