import os

import pytest

from fada_tf import machine
from fada_tf.data import shards
from fada_tf.runs import provenance


def test_a_system_that_cannot_tie_processes_to_cores_has_all_of_them(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    assert machine.available_cores() == os.cpu_count()
    assert provenance.environment()["cores"] == os.cpu_count()
    with shards.worker_pool() as run:
        assert list(run(abs, [-1], title="work")) == [1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot tie processes to cores")
def test_a_process_that_is_tied_to_one_core_has_one():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert machine.available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
