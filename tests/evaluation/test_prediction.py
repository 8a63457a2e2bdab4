"""Prediction: any picture, many at a time, files from anywhere; a bad one stops none of the others."""

import io
import pathlib
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf.data import images
from fada_tf.errors import InputError
from fada_tf.evaluation import prediction
from fada_tf.evaluation.prediction import Predictor, SavedPredictor, as_pictures, find_pictures, write_predictions
from fada_tf.evaluation.views import Views
from fada_tf.runs import checkpoint
from tests import scenes, trained
from tests.data import makers
from tests.processes import run


@pytest.fixture(scope="module")
def predictor(trained_run) -> Predictor:
    return Predictor(checkpoint.load_segmenter(trained_run), 24, 32)


def pixels(height: int = 6, width: int = 5) -> np.ndarray:
    return makers.texture(height, width, seed=4)


# By case: what makes of RGB pixels what a caller may hand over, and of the class ids those that should come back.
SAME = {
    "integers": lambda image: image.astype(np.int64),
    "a tensor": tf.constant,
    "with opacity": lambda image: np.dstack([image, np.full(image.shape[:2], 9, np.uint8)]),
    "a Pillow image": Image.fromarray,
    "a palette": lambda image: Image.fromarray(image).quantize(),
    "read-only and in columns": lambda image: np.asfortranarray(image),
}


@pytest.mark.parametrize("case", SAME)
def test_a_picture_of_any_usual_kind_is_taken_for_what_it_is(case):
    image = np.zeros((4, 6, 3), np.uint8)  # of two colours, which a palette keeps
    image[:2] = (250, 40, 0)
    found = as_pictures(SAME[case](image))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, image)


def test_grey_pictures_and_batches(predictor):
    image = pixels(48, 64)
    grey = np.repeat(image[..., :1], 3, axis=-1)
    for one in (image[..., 0], image[..., :1], Image.fromarray(image[..., 0])):
        np.testing.assert_array_equal(as_pictures(one), grey)
    maps = predictor(np.stack([image, grey]))
    assert maps.shape == (2, 48, 64) and maps.dtype == np.uint8
    np.testing.assert_array_equal(maps[1], predictor(grey))


def test_a_path_is_read(predictor, tmp_path):
    Image.fromarray(pixels(20, 30)).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(predictor(path), predictor(pixels(20, 30)))
    with pytest.raises(InputError, match=r"b\.png cannot be read \(No such file or directory\)"):
        predictor(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((4, 5, 3), 0.5, np.float32), r"of float32 from 0\.5 to 0\.5 .* np\.rint\(255 \* picture\)"),
        (np.full((4, 5, 3), 300), r"of int64 from 300 to 300 .* give integers in 0\.\.255"),
        (np.full((4, 5, 3), -1), r"from -1 to -1"),
        (np.ones((4, 5), bool), r"of bool from True to True"),
        (np.zeros((3, 4, 5), np.uint8), r"of the shape \(3, 4, 5\) cannot .* give \[height, width, 3\]"),
        (np.zeros((4, 5, 2), np.uint8), r"of the shape \(4, 5, 2\)"),
        (np.zeros((0, 5, 3), np.uint8), r"of the shape \(0, 5, 3\)"),
        (None, r"of the shape \(\)"),
    ],
)
def test_what_is_no_picture_gets_one_line(predictor, picture, message):
    with pytest.raises(InputError, match=message) as error:
        predictor(picture)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


def brightest_colour(images: tf.Tensor, training: bool) -> tf.Tensor:
    """Segments as a model does: a score for red, green and blue of every eight by eight pixels."""
    del training
    return tf.nn.avg_pool2d(tf.cast(images, tf.float32), 8, 8, "VALID")


brightest_colour.align_corners = True
brightest_colour.multiple = 1


@pytest.mark.parametrize(("batch_size", "batches"), [(2, [2, 2, 1]), pytest.param(8, [5], marks=pytest.mark.slow)])
def test_a_batch_of_pictures_of_several_sizes_is_segmented_as_one_by_one_is(monkeypatch, batch_size, batches):
    views = Views((1.0, 1.3), flip=True)
    pictures = [makers.texture(30 + 5 * seed, 60 - 7 * seed, seed) for seed in range(5)]
    one_by_one = [Predictor(brightest_colour, 24, 32, views)(picture) for picture in pictures]
    assert len({class_map[:30, :30].tobytes() for class_map in one_by_one}) == 5
    predictor, seen = Predictor(brightest_colour, 24, 32, views, batch_size=batch_size), []
    compute = predictor._logits
    monkeypatch.setattr(predictor, "_logits", lambda images: seen.append(len(images)) or compute(images))
    for class_map, alone in zip(predictor.segment(pictures), one_by_one, strict=True):
        np.testing.assert_array_equal(class_map, alone)
    assert seen == batches


def test_the_next_batch_is_prepared_while_one_is_looked_at():
    drawn = []
    pictures = (drawn.append(number) or pixels() for number in range(9))
    next(Predictor(brightest_colour, 24, 32, batch_size=2).segment(pictures))
    assert 2 < len(drawn) < 9


class OneByOne:
    """Finds class 0 everywhere, in one picture after the other, and counts them."""

    count = 0

    def segment(self, pictures):
        for picture in pictures:
            self.count += 1
            yield np.zeros(picture.shape[:2], np.uint8)

    def check(self, picture):
        pass


def test_files_are_read_and_written_beside_the_segmenting(tmp_path, monkeypatch):
    names, read = [f"{number}.png" for number in range(6)], []
    for name in names:
        Image.fromarray(pixels()).save(tmp_path / name)
    read_picture = prediction.read_picture
    monkeypatch.setattr(prediction, "read_picture", lambda path: read.append(path) or read_picture(path))
    segments = OneByOne()
    next(prediction.segment_files(segments, str(tmp_path), names))
    deadline = time.monotonic() + 5
    while len(read) == 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(read) > 1 and segments.count == 1
    next(write_predictions(segments, makers.THREE_CLASSES, str(tmp_path), names, str(tmp_path / "out")))
    assert segments.count > 2


def written(folder: pathlib.Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.png")}


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_picture_that_cannot_be_read_leaves_the_others(trained_run, tmp_path, batch_size):
    folder = tmp_path / "pictures [a-b]*"
    folder.mkdir()
    for name in ("a", "b", "d", "e"):
        Image.fromarray(pixels(20, 30)).save(folder / f"{name}.png")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "c.jpg").write_text("no picture")
    predictor = SavedPredictor(trained_run, 24, 32, batch_size=batch_size)
    assert prediction._loaded(predictor).batch_size == batch_size
    space = checkpoint.run_label_space(trained_run)
    place, names = find_pictures(str(folder))
    bad = []
    assert list(write_predictions(predictor, space, place, names, str(tmp_path / "out"), bad.append)) == [
        "a.png", "d.png", "e.png",
    ]  # fmt: skip
    assert written(tmp_path / "out/ids") == {"a.png", "d.png", "e.png"}
    assert [str(problem).partition(":")[0] for problem in bad] == [f"{folder}/b.png", f"{folder}/c.jpg"]
    with pytest.raises(InputError, match=r"b\.png: "):  # for callers that want none left out
        list(write_predictions(predictor, space, place, names, str(tmp_path / "strict")))
    assert written(tmp_path / "strict/ids") == {"a.png"}


def test_a_picture_that_only_pillow_can_decode_gets_one_line(predictor, tmp_path, monkeypatch):
    stored = images.StoredImage(b"no picture", "png", 4, 5)
    monkeypatch.setattr(images, "to_stored", lambda data: stored)
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=r"a\.png cannot be read \(.*\): name a picture, or store it anew") as error:
        predictor(tmp_path / "a.png")
    assert "\n" not in str(error.value)


def test_pictures_and_results_may_lie_elsewhere(predictor, trained_run):
    space = checkpoint.run_label_space(trained_run)
    encoded = io.BytesIO()
    Image.fromarray(pixels(20, 30)).save(encoded, "PNG")
    for name in ("a.png", "below/b.png"):
        tf.io.gfile.makedirs("ram://prediction/pictures/below")
        with tf.io.gfile.GFile(f"ram://prediction/pictures/{name}", "wb") as file:
            file.write(encoded.getvalue())
    assert find_pictures("ram://prediction/pictures") == ("ram://prediction/pictures", ["a.png", "below/b.png"])
    for path, results in (
        ("ram://prediction/pictures", ["a.png", "below/b.png"]),
        ("ram://prediction/pictures/below/b.png", ["b.png"]),
    ):
        place, names = find_pictures(path)
        output = f"ram://prediction/out{len(names)}"
        assert list(write_predictions(predictor, space, place, names, output)) == results
        for name in results:
            with tf.io.gfile.GFile(f"{output}/ids/{name}", "rb") as file:
                found = np.asarray(Image.open(io.BytesIO(file.read())))
            np.testing.assert_array_equal(found, predictor(pixels(20, 30)))
    with pytest.raises(InputError, match=r"ram://prediction/none does not exist"):
        find_pictures("ram://prediction/none")


def test_the_program_names_every_bad_picture_and_writes_the_others(trained_run, tmp_path):
    (tmp_path / "in").mkdir()
    for index, picture in enumerate(trained.pictures(2)):
        Image.fromarray(picture).save(tmp_path / f"in/{index}.png")
    shutil.copy(tmp_path / "in/0.png", tmp_path / "in/2.png")
    for name in ("bad.png", "worse.jpg"):
        (tmp_path / "in" / name).write_text("no picture")
    options = [f"--checkpoint={trained_run}", "--images=in", "--output=out", "--batch_size=2"]
    result = run(tmp_path, "predict", *options)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert [line.partition(": cannot be read as an image")[0] for line in errors] == [
        "error: in/bad.png", "error: in/worse.jpg",
    ]  # fmt: skip
    assert "3 of 5 pictures are written" in result.stderr and "Traceback" not in result.stderr
    results = {f"{kind}/{i}.png" for kind in ("ids", "masks", "overlays") for i in range(3)}
    assert written(tmp_path / "out") == results | {"legend.png"}


def test_the_program_says_which_files_are_no_pictures(trained_run, tmp_path):
    scenes.write_folder(tmp_path / "in", 1, dusk=False)
    for name in ("b.gif", "c.gif", ".hidden.gif"):
        (tmp_path / "in/images" / name).write_bytes(b"")
    options = [f"--checkpoint={trained_run}", f"--images={tmp_path}/in/images", f"--output={tmp_path}/out"]
    result = run(tmp_path, "predict", *options)
    assert result.returncode == 0, result.stderr
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1 and f"{tmp_path}/in/images/b.gif and 1 more: no picture, since the name ends" in notes[0]
