"""Tests run on two logical CPU devices, and on no GPU, so that every machine tests the same thing."""

import os
import pathlib
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import tensorflow as tf

tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has the longest files begin first, so that no process is left alone with one of them at the end.

    Several processes keep this order with --no-loadscope-reorder.
    """
    items.sort(key=lambda item: item.path.name not in ("test_programs.py", "test_run.py"))


@pytest.fixture(scope="session")
def bfloat16() -> None:
    """Skips where oneDNN is held to instructions without bfloat16, for which TensorFlow asks the CPU alone."""
    try:
        tf.nn.conv2d(tf.ones([1, 8, 8, 3], tf.bfloat16), tf.ones([3, 3, 3, 4], tf.bfloat16), 1, "SAME")
    except tf.errors.OpError:
        pytest.skip("ONEDNN_MAX_CPU_ISA leaves out the bfloat16 that this CPU has")


@pytest.fixture
def methods_of_the_tests(monkeypatch) -> None:
    """Has tests/plugins/methods found too: a method of a user's is such a file among those of the library."""
    import fada_tf.methods

    plugins = str(pathlib.Path(__file__).parent / "plugins" / "methods")
    monkeypatch.setattr(fada_tf.methods, "__path__", [*fada_tf.methods.__path__, plugins])


@pytest.fixture
def networks_of_the_tests(monkeypatch) -> None:
    """Has `registry` find the networks of tests/plugins too."""
    import fada_tf.models.backbones
    import fada_tf.models.heads

    for package in (fada_tf.models.backbones, fada_tf.models.heads):
        folder = pathlib.Path(__file__).parent / "plugins" / package.__name__.rpartition(".")[2]
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.MirroredStrategy:
    """A strategy with one replica on each of the two logical CPUs."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Iterator[str]:
    """The directory of a run with random weights, see `tests.trained`; a test that writes into one takes a copy."""
    from tests import trained

    run = trained.write_run(tmp_path_factory.mktemp("trained"))
    before = sorted(pathlib.Path(run).rglob("*"))
    yield run
    assert sorted(pathlib.Path(run).rglob("*")) == before, "a test wrote into the run that all tests share"


@pytest.fixture(scope="session")
def exported(trained_run, tmp_path_factory) -> tuple[pathlib.Path, list[str]]:
    """The run, exported as version 5, since there is a 4, and what the export reported."""
    from tests import trained

    models = tmp_path_factory.mktemp("models")
    (models / "segmenter" / "4").mkdir(parents=True)
    return trained.export(trained_run, models)
