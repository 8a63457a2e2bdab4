"""Colours, overlays and rows of pictures."""

import numpy as np

from fada_tf.data.labels import LabelSpace
from fada_tf.evaluation.pictures import colorize, legend, overlay, side_by_side

SPACE = LabelSpace("two", ("a", "b"), ((10, 20, 30), (200, 100, 0)))
CLASS_MAP = np.array([[0, 1, 255]])


def test_classes_have_their_colours_and_ignored_pixels_are_black():
    np.testing.assert_array_equal(colorize(CLASS_MAP, SPACE), [[(10, 20, 30), (200, 100, 0), (0, 0, 0)]])


def test_an_overlay_mixes_colours_and_leaves_ignored_pixels_alone():
    image = np.full((1, 3, 3), 100, np.uint8)
    mixed = overlay(image, CLASS_MAP, SPACE, opacity=0.5)
    np.testing.assert_array_equal(mixed, [[(55, 60, 65), (150, 100, 50), (100, 100, 100)]])
    np.testing.assert_array_equal(overlay(image, CLASS_MAP, SPACE, opacity=0.0), image)


def test_pictures_stand_side_by_side_with_a_gap():
    row = side_by_side([np.zeros((2, 3, 3), np.uint8), np.ones((2, 5, 3), np.uint8)], gap=4)
    assert row.shape == (2, 3 + 4 + 5, 3)
    assert (row[:, 3:7] == 255).all()


def test_a_legend_has_every_colour_beside_its_name():
    picture = legend(LabelSpace("two", ("road", "a much longer name"), ((10, 20, 30), (200, 100, 0))))
    assert picture.dtype == np.uint8 and picture.shape[0] == 2 * 28 + 6
    assert picture[17, 17].tolist() == [10, 20, 30] and picture[17 + 28, 17].tolist() == [200, 100, 0]
    written = [np.flatnonzero((row < 128).any(axis=(0, 2))) for row in (picture[6:28, 34:], picture[34:56, 34:])]
    assert 0 < len(written[0]) < len(written[1]) and written[1][-1] < picture.shape[1] - 34 - 1


def test_a_legend_can_write_more_than_latin_letters():
    black = ((0, 0, 0),) * 4
    rows = np.split(legend(LabelSpace("four", ("γ", "д", "ط", "𐎀"), black))[:-6], 4)
    written = [row[6:, 34:].tobytes() for row in rows]
    assert len(set(written)) == 4  # the last one has no letter, and is a box
