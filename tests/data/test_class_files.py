import json

import pytest

from fada_tf.data import class_files
from fada_tf.data.datasets import base
from fada_tf.data.labels import ClassFile
from fada_tf.errors import InputError
from tests.data.datasets import test_cvat as cvat
from tests.processes import run


def test_every_name_is_a_class_with_its_colour_or_another(tmp_path):
    path = f"{tmp_path}/streets.json"
    names = {"road": (1, 2, 3), "car": None, "__ignore__": None, "tram": None}
    class_files.write(path, class_files.of_names("streets", names))
    file = ClassFile.load(path)
    assert file.label_space.name == "streets" and file.label_space.names == ("road", "car", "tram")
    assert file.label_space.colors == ((1, 2, 3), (0, 128, 0), (128, 128, 0))
    assert file.by_name == {"road": 0, "car": 1, "tram": 2, "_background_": 255, "__ignore__": 255}


def test_one_name_is_told_from_the_background():
    values = class_files.of_names("cats", {"cat": None, "void": None})
    assert [(each["name"], each["labels"]) for each in values["classes"]] == [
        ("background", ["_background_"]),
        ("cat", ["cat"]),
    ]
    assert values["ignore_labels"] == ["void"]


@pytest.mark.parametrize("count", [0, 256])
def test_labels_tell_255_classes_apart(count):
    with pytest.raises(InputError, match=f"the export names {count} classes, and a class file has 1 to 255"):
        class_files.of_names("many", dict.fromkeys(map(str, range(count))))


def test_a_class_file_is_never_written_over(tmp_path):
    path, values = f"{tmp_path}/classes.json", class_files.of_names("x", {"a": None, "b": None})
    for _ in range(2):
        class_files.write(path, values)
    (tmp_path / "classes.json").write_text((tmp_path / "classes.json").read_text().replace('"a"', '"c"'))
    with pytest.raises(InputError, match="is there and says something else: take it with --classes, or name another"):
        class_files.write(path, values)
    assert '"c"' in (tmp_path / "classes.json").read_text()
    with pytest.raises(InputError, match=r"none/c.json cannot be written \(No such file"):
        class_files.write(f"{tmp_path}/none/c.json", values)


def test_data_sets_without_names_of_their_own():
    with pytest.raises(InputError, match="--write_classes is for coco, cvat, labelme, voc: gta5 names no classes"):
        base.names_of_classes("gta5", root="x")
    with pytest.raises(InputError, match="data set coco: --write_classes needs --labels"):
        base.names_of_classes("coco", images="x", labels=None)
    with pytest.raises(InputError, match="need a class file that says what their names mean: --write_classes=FILE"):
        class_files.labels_by_name(None, print)


@pytest.fixture
def given(tmp_path) -> list[str]:
    """Options of an export of CVAT's with two classes in it and a third that it names."""
    options = cvat.write(tmp_path, cvat.image(cvat.box("car", 0, 0, 8, 3), cvat.box("road", 0, 3, 8, 6)))
    return ["--dataset=cvat", f"--images={options['images']}", f"--labels={options['labels']}", "--workers=1"]


def test_an_export_is_converted_in_one_command(given, tmp_path):
    result = run(tmp_path, "make_tfrecords", *given, "--write_classes=new.json", "--output=out", "--resize=12x16")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "new.json: 3 classes (road, car, body); change it as you like, then --classes=new.json",
        "note: no label has a pixel of body",
        "labelled pixels: road 50.00 %, car 50.00 %, body 0.00 %; ignored are 0.00 % of all",
        "out: 1 image with labels of new in 1 shard; 0 left out, 0 re-encoded",
    ]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["class_pixel_shares"] == [0.5, 0.5, 0]


@pytest.mark.slow
def test_a_class_file_alone_and_what_does_not_go_together(given, tmp_path):
    assert run(tmp_path, "make_tfrecords", *given, "--write_classes=new.json").returncode == 0
    assert (tmp_path / "new.json").exists()
    convert = [*given, "--write_classes=new.json", "--output=out"]
    assert run(tmp_path, "make_tfrecords", *convert).returncode == 0
    manifest = (tmp_path / "out/manifest.json").read_bytes()
    (tmp_path / "out/manifest.json").unlink()  # as if it had been interrupted
    assert run(tmp_path, "make_tfrecords", *convert).returncode == 0
    assert (tmp_path / "out/manifest.json").read_bytes() == manifest
    for more, message in [
        (["--write_classes=new.json", "--classes=new.json", "--output=out"], "--classes and --write_classes are both"),
        (["--write_classes=new.txt"], "--write_classes=new.txt must end in .json"),
        ([], "--output is missing: name the folder of the shards"),
    ]:
        result = run(tmp_path, "make_tfrecords", *given, *more)
        assert result.returncode == 2 and message in result.stderr, result.stderr
