import io

import numpy as np
import pytest
from PIL import Image

from fada_tf.data.datasets import gta5
from fada_tf.data.label_files import CITYSCAPES_TRAIN_IDS, LabelFiles
from fada_tf.data.labels import IGNORE, LabelSpace
from fada_tf.errors import InputError
from tests.data import makers

IDS = np.array([[0, 1, 2, 1], [2, 0, 0, 255]], np.uint8)
TRAIN_IDS = np.array([[0, 1, 2, 1], [2, 0, 0, 255]], np.uint8)
COLORED = np.array(makers.THREE_CLASSES.colors, np.uint8)[[[0, 1, 2, 1], [2, 0, 0, 0]]]
BACKGROUND_AND_CAT = LabelSpace("cats", ("background", "cat"), ((0, 0, 0), (255, 255, 255)))


def png(image: Image.Image | np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, "PNG", **options)
    return buffer.getvalue()


def cats(ids: dict[int, int], space: LabelSpace = BACKGROUND_AND_CAT) -> LabelFiles:
    id_map = np.full(256, -1, np.int16)
    id_map[list(ids)] = list(ids.values())
    return LabelFiles(space, id_map, "nobody has", by_color=True)


def test_one_channel_and_three_equal_channels_are_ids():
    for array in (IDS, np.stack([IDS] * 3, axis=2)):
        np.testing.assert_array_equal(makers.THREE.train_ids(png(array)), TRAIN_IDS)


def test_an_opaque_fourth_channel_changes_nothing_and_a_transparent_one_is_refused():
    opaque = np.concatenate([COLORED, np.full((2, 4, 1), 255, np.uint8)], axis=2)
    np.testing.assert_array_equal(makers.THREE.train_ids(png(opaque)), [[0, 1, 2, 1], [2, 0, 0, 0]])
    opaque[0, 0, 3] = 254
    with pytest.raises(InputError, match="must be opaque, this has mode RGBA"):
        makers.THREE.train_ids(png(opaque))


def test_the_classes_colours_are_ids():
    label = makers.THREE.train_ids(png(COLORED))
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, [[0, 1, 2, 1], [2, 0, 0, 0]])


def test_a_colour_of_no_class_is_an_error_or_ignored():
    wrong = COLORED.copy()
    wrong[1, 3] = 1, 2, 3
    with pytest.raises(InputError, match=r"has colours \[\[1, 2, 3\]\] that no class.*--unknown_ids=ignore"):
        makers.THREE.train_ids(png(wrong))
    np.testing.assert_array_equal(makers.THREE.train_ids(png(wrong), ignore_unknown=True), TRAIN_IDS)


def test_a_colour_of_two_classes_is_an_error():
    space = LabelSpace("twins", ("a", "b", "c"), ((1, 2, 3), (1, 2, 3), (4, 5, 6)))
    with pytest.raises(InputError, match=r"colours \[\[1, 2, 3\]\] that no class, or more than one, has"):
        cats({0: 0}, space).train_ids(png(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)))


def test_ids_that_mean_nothing_are_an_error_or_ignored():
    ids = np.array([[0, 77, 78]], np.uint8)
    with pytest.raises(InputError, match=r"has ids \[77, 78\] that the class file lists neither"):
        makers.THREE.train_ids(png(ids))
    assert makers.THREE.train_ids(png(ids), ignore_unknown=True).tolist() == [[0, IGNORE, IGNORE]]
    with pytest.raises(InputError, match=r"has ids \[10, .*, 19\] and 235 more that"):
        makers.THREE.train_ids(png(np.arange(10, 255, dtype=np.uint8)[None]))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_fewer_bits_are_ids_or_the_greys_they_stand_for(bits):
    # What tools write from ids, and what optimizers make of 8-bit ids that are all multiples of 255 / (2^bits - 1).
    few = png(Image.fromarray(np.array([[0, 1]], np.uint8) * (255 // (2**bits - 1))))
    packed = few_bits(np.array([[0, 1]], np.uint8), bits)
    grey = 255 // (2**bits - 1)
    assert cats({0: 0, 1: 1}).train_ids(packed).tolist() == [[0, 1]]
    assert cats({0: 0, grey: 1}).train_ids(packed).tolist() == [[0, 1]]
    assert cats({0: 0, grey: 1}).train_ids(few).tolist() == [[0, 1]]
    assert cats({0: 0, 1: 1, grey: 1}).train_ids(packed).tolist() == [[0, 1]]
    with pytest.raises(InputError, match=r"could be read in two ways: its values \[0, 1\] and its colours"):
        cats({0: 0, 1: 1, grey: 255}).train_ids(packed)


def few_bits(ids: np.ndarray, bits: int) -> bytes:
    """A grey PNG of fewer than 8 bits a pixel, made by hand: Pillow writes only those of one bit."""
    row = sum(int(value) << (8 - bits * (i + 1)) for i, value in enumerate(ids[0]))
    return makers.png((ids.shape[1], 1, bits, 0), bytes([0, row]))


def test_a_palette_that_says_something_else_than_its_indices_is_refused():
    mask = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    mask.putpalette(bytes(range(100, 200)) * 3)  # any colours: the indices are ids
    assert makers.THREE.train_ids(png(mask)).tolist() == [[0, 1, 2]]
    mask.putpalette(np.array(makers.THREE_CLASSES.colors, np.uint8).tobytes())  # the classes' own, in their order
    assert makers.THREE.train_ids(png(mask)).tolist() == [[0, 1, 2]]
    mask.putpalette(np.array(makers.THREE_CLASSES.colors, np.uint8)[[1, 0, 2]].tobytes())  # an optimizer's, of colours
    with pytest.raises(InputError, match="could be read in two ways"):
        makers.THREE.train_ids(png(mask))
    mask.putpalette(np.repeat(np.array([0, 2, 255], np.uint8), 3).tobytes())  # an optimizer's, of ids
    with pytest.raises(InputError, match="could be read in two ways"):
        makers.THREE.train_ids(png(mask))


def test_greys_are_colours_where_they_are_no_ids():
    masks = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert cats({7: 0, 8: 1}).train_ids(png(masks)).tolist() == [[0, 1]]
    with pytest.raises(InputError, match="could be read in two ways"):
        cats({0: 0, 255: 255}).train_ids(png(masks))


@pytest.mark.parametrize("ignore_unknown", [False, True])
def test_colours_are_an_error_where_only_ids_are_read(ignore_unknown):
    masks = np.array([[[128, 64, 128], [0, 0, 142]]], np.uint8)
    with pytest.raises(InputError, match="has 2 colours where ids are due"):
        gta5.LABELS.train_ids(png(masks), ignore_unknown=ignore_unknown)


def test_classes_are_those_that_an_id_means():
    assert cats({3: 1, 4: 255}).classes == ("cat",)
    assert cats({4: 255}).classes == ("background", "cat")


def test_train_ids_stay_as_they_are_and_others_are_refused():
    kept = np.array([[*range(19), 255]], np.uint8)
    np.testing.assert_array_equal(CITYSCAPES_TRAIN_IDS.train_ids(png(kept)), kept)
    assert CITYSCAPES_TRAIN_IDS.classes == CITYSCAPES_TRAIN_IDS.label_space.names
    for value in range(19, 255):
        with pytest.raises(InputError, match=rf"has ids \[{value}\] that are no train ids of Cityscapes \(0 to 18"):
            CITYSCAPES_TRAIN_IDS.train_ids(png(np.array([[0, value]], np.uint8)))
