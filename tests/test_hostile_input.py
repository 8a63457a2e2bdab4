"""Hostile and damaged input: no crash, no code run, nothing written elsewhere, no memory without bound."""

import dataclasses
import json
import os
import pickle
import struct
import zipfile
import zlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from fada_tf import config_fields
from fada_tf.config import Config
from fada_tf.data import images, tfrecord
from fada_tf.data.labels import LabelSpace
from fada_tf.errors import InputError
from fada_tf.evaluation import prediction
from fada_tf.models import weights
from fada_tf.reporting import gallery, markup, page
from fada_tf.reporting.examples import Example, Examples
from fada_tf.reporting.markup import Section
from fada_tf.reporting.runs import Run
from tests import hostile
from tests.data import makers
from tests.mutations import damaged, fuzz, replaced
from tests.reporting.parsing import Page

FUZZED = [name for name in hostile.TARGETS if name != "pth"]


@pytest.mark.parametrize("target", FUZZED)
@fuzz
@hypothesis.given(data=st.data())
def test_damaged_input(target, data):
    seed = data.draw(st.sampled_from(hostile.seeds(target)))
    hostile.TARGETS[target](damaged(data.draw, seed))


@fuzz
@hypothesis.given(data=st.data())
def test_damaged_files_of_pytorch(data):
    pytest.importorskip("torch", reason="PyTorch is not installed (extra `convert`)")
    hostile.pth(damaged(data.draw, data.draw(st.sampled_from(hostile.seeds("pth")))))


@pytest.mark.parametrize("target", ["manifest", "class_file", "config"])
@fuzz
@hypothesis.given(data=st.data())
def test_json_with_other_values(target, data):
    values = replaced(data.draw, json.loads(hostile.seeds(target)[0]))
    hostile.TARGETS[target](json.dumps(values).encode())


@pytest.mark.parametrize("target", ["manifest", "class_file", "config"])
@pytest.mark.parametrize("text", [b"[" * 100_000, b"\xff\xfe\x00", b"9" * 10_000, b'{"seed": 1e999}', b""])
def test_json_that_is_hard_to_read(target, text):
    hostile.TARGETS[target](text)


def test_no_text_steers_the_terminal():
    for text in ("a\nb", "\x1b[2J", "\u2028", "\ud800"):
        with pytest.raises(InputError) as error:
            config_fields.from_json(json.dumps({text: 1}))
        assert str(error.value).isprintable()


class AllRoad:
    """Calls every pixel class 0."""

    def segment(self, pictures):
        """Yields a class map for each picture."""
        for picture in pictures:
            yield np.zeros(picture.shape[:2], np.uint8)

    def check(self, picture):
        """Takes all pictures."""


def test_shards_and_results_stay_in_their_folder(tmp_path):
    values = json.loads(hostile.seeds("manifest")[0])
    for name in ("../a.tfrecord", "/etc/passwd", "..", "", "x/../../a"):
        values["shards"][0]["file"] = name
        (tmp_path / "manifest.json").write_text(json.dumps(values))
        with pytest.raises(InputError, match=r"manifest.json is damaged .* is no file name"):
            hostile.Manifest.load(str(tmp_path))
    makers.save(tmp_path / "outside.png", makers.texture(8, 9))
    (tmp_path / "in").mkdir()
    written = prediction.write_predictions(
        AllRoad(),
        makers.THREE_CLASSES,
        str(tmp_path / "in"),
        ["../outside.png"],
        str(tmp_path / "out"),
    )
    with pytest.raises(InputError, match=r"name '../outside.png' leads out of "):
        list(written)
    assert not (tmp_path / "out").exists()


def test_two_pictures_never_share_a_result(tmp_path):
    for name in ("a.png", "a.jpg"):
        makers.save(tmp_path / "in" / name, makers.texture(8, 9))
    _, names = prediction.find_pictures(str(tmp_path / "in"))
    written = prediction.write_predictions(
        AllRoad(), makers.THREE_CLASSES, str(tmp_path / "in"), names, str(tmp_path / "out")
    )
    with pytest.raises(InputError, match=r"a.jpg and a.png would both be written as a.png: rename one of them"):
        list(written)
    assert not (tmp_path / "out").exists()


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("hacked",)


def test_weights_run_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("weights.npz", kernel=np.array([Malicious()], object))
    with open("plain.npz", "wb") as file:
        pickle.dump({"kernel": Malicious()}, file)
    for name in ("weights.npz", "plain.npz"):
        with pytest.raises(InputError, match=r"cannot be read as an \.npz file of arrays"):
            weights.load_initial_weights(hostile.segmenter(), name)
    assert not (tmp_path / "hacked").exists()


def test_small_files_that_unpack_to_large_ones_are_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("a.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (1 << 25,)})
        for _ in range(1 << 7):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 18
    with pytest.raises(InputError, match=r"unpacks to \d+ bytes, the model has \d+ at most"):
        weights.load_initial_weights(hostile.segmenter(), str(path))
    png = huge_png(60_000, 60_000)
    assert len(png) < 1 << 16
    with pytest.raises(InputError, match="cannot be read as an image"):
        images.to_stored(png)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tfrecord.decode_image(png)


def huge_png(height: int, width: int) -> bytes:
    """A PNG whose header promises that many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


@fuzz
@hypothesis.given(texts=st.lists(st.text(max_size=20), min_size=3, max_size=3, unique=True))
def test_no_text_becomes_part_of_the_pages_markup(texts):
    texts = [f"{text}</td><script>$\\frac&'\"" for text in texts]
    made, plain = _page(*texts), _page("run", "records", "sky")
    assert [(tag, [*attributes]) for tag, attributes in made] == [(tag, [*attributes]) for tag, attributes in plain]


def _page(stage: str, records: str, name: str) -> list[tuple[str, dict]]:
    """Returns the elements of the parts of a page that hold texts of others."""
    space = LabelSpace("space", (name, "road"), ((1, 2, 3), (4, 5, 6)))
    scores = {"mean_iou": 0.5, "pixel_accuracy": 0.5, "images": 3, "records": records, "confusion": [[1, 2], [3, 4]]}
    scores |= {"class_iou": {name: 0.5, "road": None}, "by_condition": {name: {stage: {"mean_iou": 0.5}}}}
    lines = [{"kind": "train", "step": 1, "loss/a": 1.0, "speed/seconds_per_step": 1.0}]
    runs = [Run(stage, "runs/a", "ckpt-1", Config(name=records), scores, lines)]
    runs.append(dataclasses.replace(runs[0], title=name, config=Config(name=stage)))
    pixels = [np.zeros((2, 3, 3), np.uint8)] * 5
    rows = [Example(0, records, (stage,), [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], pixels)]
    shown = Examples(["image", "truth", stage, name, f"errors, {name}"], [name], rows, 3)
    parts = [page._scores(runs, space, shown), page._settings(runs), page._differences(runs)]
    parts += [page._confusion(runs, space), gallery.gallery(shown, space)]
    sections = [Section(f"part{place}", stage, part) for place, part in enumerate(parts)]
    return Page(markup.page(name, sections)).elements
