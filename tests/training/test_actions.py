"""What is warned about between the loops."""

import io
import math

import pytest
import tensorflow as tf

from fada_tf.training.actions import WarnOfLosses


@pytest.fixture
def warn():
    stream, step = io.StringIO(), tf.Variable(0, dtype=tf.int64)
    action = WarnOfLosses(step, stream)

    def warn(**losses: float) -> str:
        stream.seek(0)
        stream.truncate()
        step.assign_add(10)
        action({f"loss/{name}": value for name, value in losses.items()} | {"speed/seconds_per_step": 99.0})
        return stream.getvalue()

    return warn


def test_a_loss_that_jumps_is_warned_about(warn):
    assert not any(warn(segmentation=1.0 + 0.1 * (i % 2)) for i in range(8))
    assert not warn(segmentation=2.5)
    assert warn(segmentation=3.5).startswith("warning: iteration 100: loss segmentation 3.5 is over 3 times its median")
    assert not warn(segmentation=1.0)


def test_a_discriminator_at_its_floor_is_warned_about_once(warn):
    def losses(above: float) -> dict[str, float]:
        return {
            "discriminator_source": 1.2 + above, "discriminator_target": 0.8 + above, "discriminator_floor": 1.0
        }  # fmt: skip

    assert not warn(**losses(math.log(2)))
    assert not warn(**losses(0.05))
    assert "warning: iteration 30: the discriminator's loss 1.001 is at its floor" in warn(**losses(0.001))
    assert not warn(**losses(0.001))
    assert not warn(**losses(0.5))
    assert warn(**losses(0.0))
