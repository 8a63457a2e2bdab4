from dataclasses import replace

import pytest

from tests import conversion_speed


@pytest.mark.parametrize("name", conversion_speed.KINDS)
def test_every_kind_is_measured(name):
    kind = replace(conversion_speed.KINDS[name], height=40, width=60)
    seconds, megabytes = conversion_speed.measure(kind, images=1)
    assert seconds >= 0 and megabytes > 0


def test_a_row_extrapolates():
    row = conversion_speed.line("x", conversion_speed.Kind(7_200, 10, 20), 0.5, 2.0)
    assert row == "| x | 7,200 | 20x10 png | 2.0 | 60 | 14.4 |"
