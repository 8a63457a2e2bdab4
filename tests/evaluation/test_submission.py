"""Our scores against those of Cityscapes' own evaluator, of the same predictions as files."""

import glob
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fada_tf.data import conversion, pipeline
from fada_tf.data.datasets import base
from fada_tf.data.labels import CITYSCAPES13, CITYSCAPES16, CITYSCAPES19, CITYSCAPES_LABEL_IDS, LabelSpace
from fada_tf.errors import InputError
from fada_tf.evaluation.evaluator import Evaluator
from fada_tf.evaluation.prediction import Predictor, find_pictures, segment_files
from fada_tf.evaluation.submission import file_name, label_ids, write_submission
from fada_tf.evaluation.views import Views
from fada_tf.models.segmenter import build_segmenter
from tests.data import makers

VOID_IDS = (0, 3, 4, 6)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    """Pictures and label files in the layout of Cityscapes, of several sizes, with all classes but one."""
    root = str(tmp_path_factory.mktemp("cityscapes"))
    rng = np.random.default_rng(0)
    ids = [identity for name, identity in CITYSCAPES_LABEL_IDS.items() if name != "train"] + list(VOID_IDS)
    for index, (height, width) in enumerate([(48, 80), (48, 80), (40, 70)]):
        label = np.kron(rng.choice(ids, (height // 4, width // 5)), np.ones((4, 5))).astype("u1")
        name = f"city{index}/city{index}_00000{index}_000019"
        image = makers.texture(height, width, seed=index)
        makers.save(f"{root}/leftImg8bit/val/{name}_leftImg8bit.png", image)
        makers.save(f"{root}/gtFine/val/{name}_gtFine_labelIds.png", label)
    conversion.convert(base.find("cityscapes", root=root, split="val"), f"{root}/records")
    return root


def random_segmenter(num_classes: int):
    segmenter = build_segmenter("tiny", num_classes, "synchronized", seed=1)
    rng = np.random.default_rng(3)
    for weight in segmenter.classifier.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return segmenter


def official(root: str, predictions: str) -> dict:
    """Returns what cityscapesscripts says of a folder of predictions."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation  # noqa: N813

    truths = sorted(glob.glob(f"{root}/gtFine/val/*/*_labelIds.png"))
    args = evaluation.args
    args.predictionPath, args.predictionWalk, args.quiet = predictions, None, True
    args.evalInstLevelScore, args.JSONOutput = False, True
    args.exportFile = os.path.join(predictions, "result.json")
    found = [evaluation.getPrediction(args, truth) for truth in truths]
    evaluation.evaluateImgLists(found, truths, args)
    with open(args.exportFile) as file:
        return json.load(file)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_scores_are_those_of_cityscapes_own_evaluator(root, tmp_path, two_replicas):
    with two_replicas.scope():
        segmenter = random_segmenter(19)
    views = Views(flip=True)
    pictures = f"{root}/leftImg8bit/val"
    predictor = Predictor(segmenter, 32, 64, views)
    written = list(write_submission(predictor, CITYSCAPES19, pictures, find_pictures(pictures)[1], str(tmp_path)))
    assert len(written) == 3
    assert sorted(os.listdir(tmp_path))[0] == "city0_000000_000019_pred_labelIds.png"

    dataset = pipeline.evaluation_dataset(f"{root}/records", CITYSCAPES19, batch_size=2, height=32, width=64)
    evaluator = Evaluator(segmenter, dataset, CITYSCAPES19.names, two_replicas, views=views)
    evaluator.evaluate(-1)
    scores, theirs = evaluator.scores, official(root, str(tmp_path))
    assert scores.confusion.dtype == np.int64
    assert (scores.class_iou > 0).sum() >= 4
    for name, iou in zip(CITYSCAPES19.names, scores.class_iou, strict=True):
        np.testing.assert_allclose(theirs["classScores"][name], iou, atol=1e-6, err_msg=name)
    assert theirs["averageScoreClasses"] == pytest.approx(scores.mean_iou, abs=1e-6)


def test_means_of_19_16_and_13_classes_stand_by_themselves(root):
    dataset = pipeline.evaluation_dataset(f"{root}/records", CITYSCAPES19, batch_size=1, height=32, width=64)
    evaluator = Evaluator(random_segmenter(19), dataset, CITYSCAPES19.names, tf.distribute.get_strategy())
    evaluator.evaluate(-1)
    scores = evaluator.scores
    assert list(scores.subset_mean_iou) == [19, 16, 13]
    iou = dict(zip(scores.class_names, scores.class_iou, strict=True))
    for space in (CITYSCAPES19, CITYSCAPES16, CITYSCAPES13):
        expected = np.nanmean([iou[name] for name in space.names])
        assert scores.subset_mean_iou[space.num_classes] == pytest.approx(expected)
    assert scores.to_dict()["subset_mean_iou"]["13"] == scores.subset_mean_iou[13]
    assert "mean of 13 classes" in scores.table()


@pytest.mark.parametrize("space", [CITYSCAPES13, CITYSCAPES19], ids=lambda space: space.name)
def test_a_model_of_19_classes_is_scored_on_labels_of_13(root, tmp_path, space):
    label = np.array([[0, 1, 2, 12], [3, 4, 255, 5]], np.uint8)
    makers.save(f"{tmp_path}/images/a.png", makers.texture(2, 4))
    makers.save(f"{tmp_path}/labels/a.png", label)
    ids = np.r_[[space.names.index(name) for name in CITYSCAPES13.names], [-1] * 242, 255].astype(np.int16)
    pair = makers.Pair("a.png", f"{tmp_path}/images/a.png", f"{tmp_path}/labels/a.png")
    labels = makers.LabelFiles(space, ids, "nobody has")
    manifest = conversion.convert(makers.DataSet((pair,), labels), f"{tmp_path}/records").manifest
    options = {"batch_size": 1, "height": 32, "width": 64}
    with pytest.raises(InputError, match=r"has classes that .*records lacks: wall"):
        pipeline.evaluation_dataset(f"{tmp_path}/records", CITYSCAPES19, **options)
    dataset = pipeline.evaluation_dataset(f"{tmp_path}/records", CITYSCAPES19, **options, partial_labels=True)
    unlabelled = manifest.unlabelled(CITYSCAPES19)
    assert unlabelled == ("wall", "fence", "pole", "terrain", "truck", "train")
    evaluator = Evaluator(
        random_segmenter(19), dataset, CITYSCAPES19.names, tf.distribute.get_strategy(), unlabelled=unlabelled
    )
    evaluator.evaluate(-1)
    scores = evaluator.scores
    expected = [CITYSCAPES19.names.index(CITYSCAPES13.names[train_id]) for train_id in label[label != 255]]
    assert np.flatnonzero(scores.confusion.sum(1)).tolist() == sorted(expected)
    assert list(scores.subset_mean_iou) == [13]
    assert np.isnan(scores.class_iou[[3, 4, 5]]).all()
    assert scores.mean_iou == scores.subset_mean_iou[13]
    assert scores.table().endswith("the labels do not know them: wall, fence, pole, terrain, truck, train")


def test_files_hold_label_ids(root, tmp_path):
    predictor = Predictor(random_segmenter(19), 32, 64)
    name = "city2/city2_000002_000019_leftImg8bit.png"
    list(write_submission(predictor, CITYSCAPES19, f"{root}/leftImg8bit/val", [name], str(tmp_path)))
    ids = np.asarray(Image.open(tmp_path / "city2_000002_000019_pred_labelIds.png"))
    class_map = predictor(np.asarray(Image.open(f"{root}/leftImg8bit/val/{name}")))
    assert ids.shape == (40, 70) and ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, label_ids(CITYSCAPES19)[class_map])


def test_two_pictures_of_one_frame_are_refused_before_anything_is_written(root, tmp_path):
    names = ["a/ulm_000001_000019_leftImg8bit.png", "b/ulm_000001_000019.jpg"]
    predictor = Predictor(random_segmenter(19), 32, 64)
    with pytest.raises(InputError, match=r"png and b/ulm_000001_000019.jpg would both be written as ulm_000001_000019"):
        list(write_submission(predictor, CITYSCAPES19, root, names, str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_only_cityscapes_names_and_classes_make_a_submission():
    assert file_name("a/ulm_000001_000019_leftImg8bit.png") == "ulm_000001_000019_pred_labelIds.png"
    with pytest.raises(InputError, match=r"street\.png is not named CITY_SEQUENCE_FRAME"):
        file_name("street.png")
    with pytest.raises(InputError, match="has classes that Cityscapes lacks: pavement"):
        label_ids(LabelSpace("own", ("road", "pavement"), ((0, 0, 0), (1, 1, 1))))


@pytest.mark.parametrize(
    ("server", "picture", "expected", "folders"),
    [
        ("acdc", "fog/test/GOPR0475/GOPR0475_frame_000247_rgb_anon.png", "GOPR0475_frame_000247_rgb_anon.png", [""]),
        (
            "dark_zurich",
            "night/GP010376/GP010376_frame_000001_rgb_anon.png",
            "GP010376_frame_000001_rgb_anon.png",
            ["confidence", "labelTrainIds", "labelTrainIds_invalid"],
        ),
        ("muses", "fog/night/REC0006_frame_083390_frame_camera.png", "REC0006_frame_083390.png", [""]),
    ],
)
def test_other_servers_take_train_ids_by_other_names(tmp_path, server, picture, expected, folders):
    makers.save(f"{tmp_path}/images/{picture}", makers.texture(24, 32))
    segmenter = random_segmenter(16)
    predictor = Predictor(segmenter, 24, 32)
    predictions = write_submission(
        predictor, CITYSCAPES16, f"{tmp_path}/images", [picture], f"{tmp_path}/out", server=server
    )
    assert list(predictions) == [picture]
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert written == [os.path.join(folder, expected) for folder in folders]
    ((_, _, class_map),) = segment_files(predictor, f"{tmp_path}/images", [picture])
    train_ids = np.array([CITYSCAPES19.names.index(name) for name in CITYSCAPES16.names])
    for folder in folders:
        wanted = np.full((24, 32), 65_535) if folder == "confidence" else train_ids[class_map]
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / folder / expected)), wanted)
    with pytest.raises(InputError, match=f"street.png is not named .*: a submission to {server} needs such names"):
        file_name("street.png", server)
