"""Networks of several maps: logits grow with half-pixel centres everywhere, and all formats give what they give."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config, ModelConfig, method_settings
from fada_tf.data.labels import IGNORE, ClassFile
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.evaluation.prediction import Predictor
from fada_tf.export import version
from fada_tf.export.signatures import ServedSegmenter, ServingOptions
from fada_tf.losses.segmentation import cross_entropy
from fada_tf.models.layers import resize_align_corners
from fada_tf.models.segmenter import build_segmenter
from tests import scenes, trained

pytestmark = pytest.mark.usefixtures("networks_of_the_tests")
SIZE = (40, 56)
OPTIONS = ServingOptions(*SIZE, max_pixels=100_000, max_batch=3)


def build(backbone: str, head: str):
    """Returns a network that is sure of different classes in different places, and not random in training."""
    segmenter = build_segmenter(backbone, len(scenes.CLASSES), "frozen", seed=3, head=head)
    kernel = segmenter.classifier.get_layer("scores").kernel
    kernel.assign(kernel * 100.0)
    for layer in [*segmenter.feature_extractor.layers, *segmenter.classifier.layers]:
        if hasattr(layer, "rate"):
            layer.rate = 0
    return segmenter


@pytest.mark.slow
def test_logits_grow_with_half_pixel_centres_everywhere(tmp_path):
    segmenter = build("mix_tiny", "segformer")
    image, label = (values[: SIZE[0], : SIZE[1]] for values in scenes.scene(0, dusk=False))
    logits = segmenter(image[None])
    assert logits.shape[1:3] == (10, 14)
    full, aligned = tf.image.resize(logits, SIZE), resize_align_corners(logits, SIZE)
    expected = np.argmax(full, -1)[0]
    clear = np.diff(np.sort(full, -1)[0, ..., -2:], axis=-1)[..., 0] > 1e-4
    assert clear.mean() > 0.99 and (expected != np.argmax(aligned, -1)[0])[clear].sum() > 20

    scenes.write_class_file(tmp_path / "classes.json")
    served = ServedSegmenter(segmenter, ClassFile.load(str(tmp_path / "classes.json")).label_space, OPTIONS)
    images, methods = tf.constant(image[None]), {name: build_method(name, segmenter) for name in ("dacs", "fada")}
    found = {
        "prediction": Predictor(segmenter, *SIZE)(image),
        "class maps": served.class_maps(images)["class_map"][0],
        "probabilities": np.argmax(served.probabilities(images)["probabilities"][0], -1),
        "pseudo labels": methods["dacs"].pseudo_labels({"image": images})["label"][0],
    }
    assert {name: int((np.asarray(each) != expected)[clear].sum()) for name, each in found.items()} == dict.fromkeys(
        found, 0
    )

    batch = {"image": image[None], "label": expected[None].astype(np.uint8), "label_size": np.int32([SIZE])}
    evaluator = Evaluator(segmenter, tf.data.Dataset.from_tensors(batch), scenes.CLASSES, tf.distribute.get_strategy())
    evaluator.evaluate(-1)
    assert evaluator.scores.pixel_accuracy > 0.999

    batch = {"image": images, "label": tf.constant(label[None]), "draw": tf.zeros([1], tf.int64)}
    right, wrong = (float(cross_entropy(each, label[None])) for each in (full, aligned))
    assert right != pytest.approx(wrong, rel=1e-3)
    weighted = batch | {"weight": tf.ones([1, *SIZE])}
    losses = {
        "source": next(methods["dacs"].supervised.passes(batch))["segmentation"].value,
        "mixed": methods["dacs"].mix_pass(weighted | {"below": weighted["weight"]})["mix"].value,
        "fada": methods["fada"].source_pass(batch)["segmentation"].value,
    }
    wanted = dict.fromkeys(losses, right) | {"mixed": right * (label != IGNORE).mean()}  # a mean over all pixels
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(wanted, rel=1e-4)


def build_method(name: str, segmenter):
    config = Config()
    config.method = method_settings(name, segmentation_temperature=1.0)
    return registry.load("fada_tf.methods", name).build(config, segmenter)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the converters warn of TensorFlow's and numpy's plans
@pytest.mark.parametrize(("form", "package"), [("litert", "ai_edge_litert"), ("onnx", "tf2onnx")])
@pytest.mark.parametrize("head", ["segformer", "daformer"])
def test_all_formats_compute_the_same(tmp_path, head, form, package):
    pytest.importorskip(package, reason=f"{package} is in the extra {form}")
    run = trained.write_run(tmp_path, ModelConfig("mit_b0", head=head), SIZE)
    # Random weights, whose last layer alone is made sharper than it begins with.
    saved = tf.train.Checkpoint(segmenter=build("mit_b0", head))
    tf.train.CheckpointManager(saved, f"{run}/checkpoints", 1).save(checkpoint_number=trained.ITERATION)
    plan = trained.plan(run, tmp_path, options=OPTIONS, formats=(form,))
    path = version.export_version(plan, trained.pictures(2))
    parities = json.loads(pathlib.Path(path, version.MANIFEST).read_text())["parity"]
    assert parities.pop(form)["difference"] < 5e-4
    assert parities and all(parity["difference"] < 1e-4 for parity in parities.values())
