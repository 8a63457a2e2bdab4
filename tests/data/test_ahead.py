"""Work ahead: results in order, beside whoever draws them, nothing lost when something fails."""

import threading

import pytest

from fada_tf.data.ahead import map_ahead


def test_results_come_in_order_and_the_next_are_worked_on_meanwhile():
    first_is_there, second_is_begun = threading.Event(), threading.Event()

    def square(number: int) -> int:
        if number == 1:
            second_is_begun.set()  # which nobody has asked for yet
            assert first_is_there.wait(5)
        return number**2

    results = map_ahead(square, range(5))
    assert next(results) == 0
    first_is_there.set()
    assert second_is_begun.wait(5)
    assert list(results) == [1, 4, 9, 16]


def test_items_are_drawn_only_as_far_as_they_are_worked_on():
    drawn = []
    results = map_ahead(str, (drawn.append(number) or number for number in range(100)), count=3)
    next(results)
    assert len(drawn) == 4


def test_what_was_begun_is_finished_whatever_fails():
    done = []

    def items():
        yield from range(3)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(map_ahead(done.append, items(), count=8))
    assert sorted(done) == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda number: 1 // number, [1, 0, 2]))
