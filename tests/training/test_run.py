"""The loop: resume is exact, two replicas are one, accumulation is the mean of its parts, what is saved is loaded."""

import contextlib
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import logging
from PIL import Image

from fada_tf import config as config_lib
from fada_tf import devices, registry
from fada_tf.config import Config
from fada_tf.config_fields import set_fields
from fada_tf.data import conversion, sampling
from fada_tf.data.datasets import folder as folder_dataset
from fada_tf.data.labels import label_space
from fada_tf.data.positions import Positions
from fada_tf.errors import InputError
from fada_tf.evaluation.discrimination import DomainPredictor, has_discriminator
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.methods.base import Method
from fada_tf.models.segmenter import build_segmenter
from fada_tf.models.variables import named_variables
from fada_tf.optimizers import loss_scale
from fada_tf.runs import checkpoint
from fada_tf.runs.checkpoint import load_segmenter
from fada_tf.training import datasets, replay
from fada_tf.training import run as run_lib
from fada_tf.training import trainer as trainer_lib
from fada_tf.training.checkpoints import make_checkpoint
from fada_tf.validation import validate
from tests import scenes
from tests.small_runs import assert_same, small_config

METHODS = registry.names("fada_tf.methods")
# Tracing the steps of the others takes minutes; what of them is saved, test_conformance.py shows.
QUICKEST_AND_OTHERS = [pytest.param(name, marks=[] if name == "source_only" else pytest.mark.slow) for name in METHODS]


def build(config: Config) -> Method:
    space = label_space(config.data.label_space)
    model = config.model
    segmenter = build_segmenter(
        model.backbone, space.num_classes, model.batch_norm, config.seed, recompute=model.recompute
    )
    return registry.load("fada_tf.methods", config.method.name).build(config, segmenter)


@pytest.mark.parametrize("method", QUICKEST_AND_OTHERS)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(records, tmp_path, monkeypatch, method):
    config, traces, make = small_config(records, method), [], Method._accumulate
    monkeypatch.setattr(Method, "_accumulate", lambda self, batches: traces.append(self) or make(self, batches))
    config.data.source.sampling, config.data.source.sub_epoch = "class_balanced", 2
    monkeypatch.setattr(sampling, "_APART", 2)
    begun, before = [], Positions.before
    monkeypatch.setattr(Positions, "before", lambda *of: begun.append(before(*of)) or begun[-1])
    run_lib.train(config, str(tmp_path / "whole"))
    assert len(traces) == 1  # though the domains differ in size
    config.training.iterations = 2
    run_lib.train(config, str(tmp_path / "parts"))
    config.training.iterations = 4
    assert all(epoch == 0 for epoch, _ in begun)
    run_lib.train(config, str(tmp_path / "parts"))
    assert_same(tmp_path / "whole", tmp_path / "parts", 4)
    if method != "source_free":  # which draws from no source
        assert begun[-1][0] == 2 and sum(begun[-1][1]) == 4  # as positions.json had it


@pytest.mark.slow
@pytest.mark.usefixtures("methods_of_the_tests")
def test_a_teacher_goes_on_exactly_and_the_better_one_is_scored_and_loaded(records, tmp_path):
    config = small_config(records, "masked_teacher")
    config.method.inference = "better"
    evaluation = config.data.evaluation
    evaluation.records, evaluation.height, evaluation.width = str(records / "target"), 24, 32
    config.training.evaluation_interval, config.training.picture_interval = 2, 4
    run_lib.train(config, str(tmp_path / "whole"))
    config.training.iterations = 2
    run_lib.train(config, str(tmp_path / "parts"))
    config.training.iterations = 4
    run_lib.train(config, str(tmp_path / "parts"))
    assert_same(tmp_path / "whole", tmp_path / "parts", 4)
    assert (tmp_path / "whole/pictures/masked.png").exists()
    run = str(tmp_path / "whole")
    logged = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    line = [line for line in logged if line["kind"] == "evaluation"][-1]
    images = datasets.evaluation_dataset(config, label_space(config.data.label_space))
    kernels = []
    for name, network in config_lib.NETWORKS.items():
        loaded, there = load_segmenter(run, name), build_segmenter("tiny", len(scenes.CLASSES), "synchronized")
        path = str(tmp_path / "whole/checkpoints/ckpt-4")
        tf.train.Checkpoint(**{network: there}).restore(path).expect_partial().assert_existing_objects_matched()
        kernels.append(loaded.classifier.aspp_6.kernel.numpy())
        np.testing.assert_array_equal(kernels[-1], there.classifier.aspp_6.kernel)
        scored = Evaluator(loaded, images, tuple(scenes.CLASSES), tf.distribute.get_strategy()).evaluate(
            tf.constant(-1)
        )
        assert line[f"{name}/mean_iou"] == pytest.approx(scored["mean_iou"], abs=1e-6)
    assert np.abs(kernels[0] - kernels[1]).max() > 0
    assert line["mean_iou"] == max(line["student/mean_iou"], line["teacher/mean_iou"])
    better = "teacher" if line["teacher/mean_iou"] > line["student/mean_iou"] else "student"
    assert checkpoint.network(run) == better
    np.testing.assert_array_equal(load_segmenter(run).classifier.aspp_6.kernel, kernels[better == "teacher"])
    measured = {name for name in logged[0] if name.startswith(("loss/", "watched/"))}
    assert measured == {"loss/segmentation", "loss/masked", "watched/seen_share"}


def test_a_begun_run_continues_with_another_name_evaluation_batch_and_tolerance(records, tmp_path, capsys):
    config = small_config(records, "source_only")
    config.training.iterations = 2
    run_lib.train(config, str(tmp_path / "run"))
    config.training.iterations, config.name = 4, "another"
    config.data.evaluation.batch_size = config.data.source.max_bad_records = 2
    run_lib.train(config, str(tmp_path / "run"))
    assert json.loads((tmp_path / "run/config.json").read_text())["name"] == "another"
    first, second = capsys.readouterr().out.split("devices: CPU\n")[1:]
    assert "going on" not in first and second.startswith("going on from iteration 2\ncompiling")
    last = f"written: {tmp_path}/run; next: fada-tf predict --checkpoint={tmp_path}/run --images=DIR --output=DIR"
    assert first.splitlines()[-1] == second.splitlines()[-1] == last
    # A line of the iteration that was compiled alone has no speed, the next one has.
    assert [line.count(" ETA ") for line in second.splitlines() if "/4 " in line] == [0, 1]
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 4


def test_what_is_saved_is_loaded(records, tmp_path):
    config = small_config(records, "source_only")
    run_lib.train(config, str(tmp_path))
    loaded = load_segmenter(str(tmp_path))
    method = build(config)
    progress = tf.Variable(tf.zeros([len(method.measure_names) + 1]))
    checkpoint = make_checkpoint(method, tf.Variable(0, dtype=tf.int64), progress)
    checkpoint.restore(str(tmp_path / "checkpoints" / "ckpt-4")).assert_consumed()
    image = scenes.scene(3, dusk=True)[0][None]
    np.testing.assert_array_equal(loaded(image), method.segmenter(image))
    assert np.abs(loaded(image) - build(config).segmenter(image)).max() > 1e-2


@pytest.mark.parametrize("batch_size", [0, 3])
def test_pictures_of_evaluation_images_of_several_sizes(records, tmp_path, batch_size):
    scenes.write_folder(tmp_path / "raw", 3, dusk=True)
    for kind in ("images", "labels"):
        smaller = tmp_path / "raw" / kind / "000.png"
        Image.open(smaller).crop((0, 4, 40, 44)).save(smaller)
    dataset = folder_dataset.find(
        str(tmp_path / "raw/images"), str(tmp_path / "raw/labels"), str(records / "classes.json")
    )
    conversion.convert(dataset, str(tmp_path / "records"))
    config = small_config(records, "source_only")
    evaluation = config.data.evaluation
    evaluation.records, evaluation.batch_size = str(tmp_path / "records"), batch_size
    evaluation.height, evaluation.width = 40, 40
    space = label_space(config.data.label_space)
    pictures = datasets.picture_batches(config, build(config), space)["evaluation"]
    assert pictures["image"].shape == (2, 40, 40, 3)
    np.testing.assert_array_equal(pictures["label"][0], np.asarray(Image.open(tmp_path / "raw/labels/000.png")))
    assert pictures["label"][1].shape == (40, 40) and (pictures["label"][1, -1] != 255).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"training.batch_size": 0}, "config.training.batch_size is 0: it takes 1 or more"),
        (
            {"data.fourier_beta": 0.1, "data.target.width": 32},
            "config.data.fourier_beta is 0.1, and method source_only trains on source alone",
        ),
    ],
)
def test_training_validates_its_config_and_leaves_nothing(records, tmp_path, fields, message):
    config = small_config(records, "source_only")
    set_fields(config, fields)
    with pytest.raises(InputError, match=message):
        run_lib.train(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("fails", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_process_is_after_a_training_what_it_was_before(records, tmp_path, fails):
    config = small_config(records, "source_only")
    config.training.precision, config.training.channels_order = "mixed_bfloat16", "last"
    config.training.iterations = 1
    if fails:
        config.data.source.records = str(tmp_path)
    keras.config.set_dtype_policy("float32")
    before = tf.config.optimizer.get_experimental_options().get("layout_optimizer", True), logging.get_verbosity()
    with pytest.raises(InputError, match="has no manifest") if fails else contextlib.nullcontext():
        run_lib.train(config, str(tmp_path / "run"))
    assert keras.config.dtype_policy().name == "float32"
    assert (tf.config.optimizer.get_experimental_options()["layout_optimizer"], logging.get_verbosity()) == before


@pytest.mark.slow
def test_a_run_that_continues_needs_its_initial_weights_no_more(records, tmp_path):
    config = small_config(records, "source_only")
    variables = named_variables(build(config).segmenter.feature_extractor)
    np.savez(tmp_path / "weights.npz", **{name: np.asarray(variable) for name, variable in variables.items()})
    config.model.initial_weights = str(tmp_path / "weights.npz")
    config.training.iterations = 2
    run_lib.train(config, str(tmp_path / "run"))
    (tmp_path / "weights.npz").unlink()
    config.training.iterations = 4
    run_lib.train(config, str(tmp_path / "run"))
    assert (tmp_path / "run/checkpoints/ckpt-4.index").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lr=[1e-3]", "a*b?c\\d"])
def test_a_run_directory_may_have_any_name(records, tmp_path, name):
    run, config = tmp_path / name, small_config(records, "fada")
    evaluation = config.data.evaluation
    evaluation.records, evaluation.height, evaluation.width = str(records / "target"), 24, 32
    config.training.checkpoint_interval = config.training.keep_checkpoints = 1
    for config.training.iterations in (2, 3):
        run_lib.train(config, str(run))
    assert {path.name for path in (run / "checkpoints").glob("*.index")} == {"ckpt-3.index"}
    assert {path.parent.name for path in tmp_path.rglob("*.index")} == {"checkpoints", "best"}
    image = scenes.scene(3, dusk=True)[0]
    assert np.isfinite(load_segmenter(str(run / "best"))(image[None])).all()
    assert has_discriminator(str(run))
    assert DomainPredictor(str(run), 24, 32)(image).shape == image.shape[:2]
    after = small_config(records, "source_only")
    after.model.initial_weights, after.training.iterations = str(run), 1
    run_lib.train(after, str(tmp_path / f"{name} next"))
    assert replay.compare(str(run), str(run)) == []


def one_step(config: Config, strategy: tf.distribute.Strategy) -> tuple[dict[str, float], list[np.ndarray]]:
    """Returns the losses and the weights after one iteration on the given replicas."""
    with strategy.scope():
        method = build(config)
    if config.training.xla:
        method.use_xla()
    space = label_space(config.data.label_space)
    dataset = strategy.experimental_distribute_dataset(datasets.train_dataset(config, method, space, 0))

    @tf.function
    def step(batches):
        losses = strategy.run(method.step, args=batches)
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in losses.items()}

    losses = step(next(iter(dataset)))
    variables = [variable for group in method.groups.values() for variable in group.variables]
    return {name: float(value) for name, value in losses.items()}, [np.asarray(variable) for variable in variables]


def losses_of(measures: dict[str, float]) -> dict[str, float]:
    """Returns the losses alone: norms of a replica's gradients are of that replica."""
    return {name: value for name, value in measures.items() if not name.startswith(("gradient_norm/", "loss_scale"))}


@pytest.mark.parametrize("method", ["source_only", pytest.param("fada", marks=pytest.mark.slow)])
def test_a_high_segmentation_temperature_makes_all_classes_alike(records, method):
    config = small_config(records, method)
    config.method.segmentation_temperature = 1e6
    space = label_space(config.data.label_space)
    built = build(config)
    losses, _ = built.losses_and_gradients(*next(iter(datasets.train_dataset(config, built, space, 0))))
    assert float(losses["segmentation"]) == pytest.approx(np.log(space.num_classes), rel=1e-4)


PATHS = {  # by field and value: how near losses and gradient norms, and the segmenter's steps, are to the plain path's
    ("model.recompute", True): (1e-5, 1e-4),
    ("training.all_reduce_packs", 2): (1e-5, 1e-4),
}


@pytest.fixture
def plain_step(records):
    """The config of one step of FADA with frozen batch norm, its measures, and its weights before and after."""
    config = small_config(records, "fada")
    config.model.batch_norm, config.optimizer.learning_rate = "frozen", 1e-4
    before = [np.asarray(variable) for variable in build(config).segmenter.trainable_variables]
    return config, before, one_step(config, tf.distribute.get_strategy())


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=str)
def test_every_path_makes_the_step_of_the_plain_one(plain_step, path):
    config, before, plain = plain_step
    section, name = path[0].split(".")
    setattr(getattr(config, section), name, path[1])
    validate(config)
    strategy = tf.distribute.get_strategy()
    if name == "all_reduce_packs":
        strategy = devices.make_strategy(all_reduce_packs=path[1])
        assert strategy.num_replicas_in_sync == 2
        config.training.accumulation_steps = 2
        plain = one_step(config, tf.distribute.get_strategy())
        config.training.accumulation_steps = 1
    other = one_step(config, strategy)
    measures, steps = PATHS[path]
    assert losses_of(other[0]) == pytest.approx(losses_of(plain[0]), rel=measures)
    if strategy.num_replicas_in_sync == 1:
        assert {name: other[0][name] for name in plain[0]} == pytest.approx(plain[0], rel=10 * measures)
    # Adam's first step, which D makes, has the size of its learning rate however small a gradient is.
    for old, one, two in zip(before, plain[1], other[1], strict=False):
        assert np.linalg.norm(two - one) <= steps * np.linalg.norm(one - old)


@pytest.mark.slow
def test_a_run_in_float16_keeps_its_loss_scale(records, tmp_path, monkeypatch):
    config = small_config(records, "source_only")
    config.training.precision, config.training.iterations = "mixed_float16", 3
    config.training.channels_order, config.training.prefetch_to_device = "last", False
    monkeypatch.setattr(loss_scale, "_INITIAL", 2.0**40)  # overflows
    try:
        run_lib.train(config, str(tmp_path))
        config.training.iterations = 4
        run_lib.train(config, str(tmp_path))
    finally:
        devices.set_precision("float32")
        devices.set_channels_order("automatic")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss_scale"] for line in lines] == [2.0**40, 2.0**39, 2.0**38, 2.0**37]
    assert [line["gradient_norm/classifier"] for line in lines] == [0, 0, 0, 0]
    assert all(np.isfinite(line["loss/segmentation"]) for line in lines)


@pytest.mark.parametrize(("field", "value"), [("precision", "mixed_float16"), ("xla", True)])
def test_anomaly_detection_is_refused_where_it_cannot_work(records, tmp_path, field, value):
    config = small_config(records, "source_only")
    setattr(config.training, field, value)
    try:
        with pytest.raises(InputError, match=r"--detect_anomaly works neither with .* begin a run in float32"):
            run_lib.train(config, str(tmp_path / "run"), detect_anomaly=True)
    finally:
        devices.set_precision("float32")
    assert not (tmp_path / "run").exists()


def test_workers_refuse_all_reduce_packs(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(InputError, match=r"config\.training\.all_reduce_packs is 2.*set it to 0"):
        devices.make_strategy(all_reduce_packs=2)


def test_xla_refuses_batch_norm_over_replicas(records, two_replicas, tmp_path, monkeypatch):
    config = small_config(records, "source_only")
    config.training.xla = True
    monkeypatch.setattr(run_lib, "make_strategy", lambda **options: two_replicas)
    with pytest.raises(InputError, match=r"config\.training\.xla is True.*set it to False"):
        run_lib.train(config, str(tmp_path / "run"))


@pytest.mark.slow
def test_synchronized_batch_norm_makes_two_replicas_one(records, two_replicas):
    config = small_config(records, "source_only")
    # Every pixel labelled alike on both replicas, so that the mean of means is the mean.
    on_two = one_step(config, two_replicas)
    on_one = one_step(config, tf.distribute.get_strategy())
    assert losses_of(on_two[0]) == pytest.approx(losses_of(on_one[0]), rel=1e-4)
    for one, two in zip(on_one[1], on_two[1], strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-2, atol=1e-4)


def test_training_learns_and_says_what_the_first_iteration_waits_for(records, tmp_path, capsys, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(trainer_lib, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    config = small_config(records, "source_only")
    config.training.iterations, config.training.steps_per_loop = 40, 10
    config.schedule.horizon = 60
    run_lib.train(config, str(tmp_path))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    losses = [float(line.split('"loss/segmentation": ')[1].split(",")[0]) for line in lines]
    assert losses[-1] < 0.5 * losses[0]
    _, compiling, compiled, *progress, _ = capsys.readouterr().out.splitlines()  # the first names the devices
    assert compiling == "compiling the training step" and compiled == "compiled in 1.0 s, with the first iteration"
    assert len(progress) == 4
    # The clock goes on by one whenever it is read: a loop takes one second, compiling apart.
    speeds = [json.loads(line)["speed/seconds_per_step"] for line in lines]
    assert speeds == pytest.approx([1 / 9, 1 / 10, 1 / 10, 1 / 10])


@pytest.mark.parametrize(("batch_size", "images"), [(0, [2, 2, 1]), (4, [4, 1])])
def test_evaluation_sees_one_image_a_replica_unless_told_otherwise(records, batch_size, images):
    config = small_config(records, "source_only")
    evaluation = config.data.evaluation
    evaluation.records, evaluation.height, evaluation.width = str(records / "target"), 24, 32
    evaluation.batch_size = batch_size
    space = label_space(config.data.label_space)
    assert [len(batch["image"]) for batch in datasets.evaluation_dataset(config, space, replicas=2)] == images


@pytest.mark.slow
def test_an_evaluation_set_may_know_fewer_classes(records, tmp_path, capsys):
    values = json.loads((records / "classes.json").read_text())
    car = values["classes"].pop()
    values["ignore_ids"] += car["ids"]
    (tmp_path / "fewer.json").write_text(json.dumps(values))
    raw = records / "raw/target"
    dataset = folder_dataset.find(str(raw / "images"), str(raw / "labels"), str(tmp_path / "fewer.json"))
    conversion.convert(dataset, str(tmp_path / "records"))
    config = small_config(records, "source_only")
    config.training.iterations = 2
    config.data.evaluation.records = str(tmp_path / "records")
    config.data.evaluation.height, config.data.evaluation.width = 24, 32
    run_lib.train(config, str(tmp_path / "run"))
    assert "evaluation: its labels do not know car: the mean IoU is of the others" in capsys.readouterr().out
    lines = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    scores = next(line for line in lines if line["kind"] == "evaluation")
    iou = [scores["class_iou/sky"], scores["class_iou/road"]]
    assert "class_iou/car" not in scores and scores["mean_iou"] == pytest.approx(sum(iou) / 2)


def test_labels_of_ignored_pixels_alone_are_not_trained_on(records, tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "images/a.png")
    Image.new("L", (64, 48), 255).save(tmp_path / "labels/a.png")
    dataset = folder_dataset.find(*(str(tmp_path / name) for name in ("images", "labels")), f"{records}/classes.json")
    conversion.convert(dataset, str(tmp_path / "records"))
    config = small_config(records, "source_only")
    config.data.source.records = str(tmp_path / "records")
    with pytest.raises(InputError, match=r"no label in .*records has a pixel of sky, road, car: check the ids"):
        run_lib.train(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
