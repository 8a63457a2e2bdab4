import numpy as np
import pytest
import tensorflow as tf

from fada_tf.augmentations import block_mask
from tests.goldens import recipe


@pytest.mark.parametrize("case", range(4))
def test_masks_are_the_golden_ones(case):
    golden = recipe.load("ops_block_mask")
    height, width, block = golden["arg_cases"][case].tolist()
    kept = golden[f"uniform{case}"] > golden["arg_mask_ratio"]
    assert block_mask.cells((height, width), block) == kept.shape[1:]
    mask = block_mask.enlarged(tf.constant(kept, tf.float32), (height, width)).numpy()
    assert mask.dtype == np.float32
    np.testing.assert_array_equal(mask[..., 0], golden[f"mask{case}"])
    image = recipe.channels_last(recipe.image(golden["arg_seed"] + 100 + case, (2, 3, height, width)))
    # Sums of thousands of float32 squares, in float64 on both sides.
    norms = np.sqrt(np.sum((image * mask).astype(np.float64) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(norms, golden[f"masked_image_norm{case}"], rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "block", "expected"),
    [((40, 56), 16, (2, 4)), ((512, 1024), 64, (8, 16)), ((10, 200), 64, (1, 3)), ((7, 7), 64, (1, 1))],
)
def test_halves_of_cells_are_rounded_to_even_numbers_and_there_is_one_at_least(size, block, expected):
    assert block_mask.cells(size, block) == expected


@pytest.mark.parametrize(
    ("size", "cells"), [((376, 752), (6, 12)), ((65, 97), (2, 3)), ((5, 7), (5, 7)), ((9, 4), (1, 1))]
)
def test_every_cell_is_one_rectangle_of_its_share_of_pixels(size, cells):
    numbers = np.arange(1, 1 + cells[0] * cells[1], dtype=np.float32).reshape(1, *cells)
    mask = block_mask.enlarged(tf.constant(numbers), size).numpy()
    assert mask.shape == (1, *size, 1)
    for number in numbers.flat:
        rows, columns = np.nonzero(mask[0, ..., 0] == number)
        sides = [np.ptp(places) + 1 for places in (rows, columns)]
        assert len(rows) == sides[0] * sides[1]
        for side, length, count in zip(sides, size, cells, strict=True):
            assert side in (length // count, -(-length // count))


def test_a_mask_keeps_its_share():
    size, block = (512, 1024), 64
    uniform = np.random.default_rng(0).random((10, *block_mask.cells(size, block)))
    mask = block_mask.enlarged(tf.constant(uniform > 0.7, tf.float32), size)
    assert set(np.unique(mask)) == {0, 1}
    # 1280 cells of equal size: five deviations of their mean are 0.064.
    assert abs(np.mean(mask) - 0.3) < 0.064
    assert abs(np.mean(mask) - np.mean(uniform > 0.7)) < 1e-6
