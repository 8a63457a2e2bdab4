"""What an exported version holds, computes and refuses; nothing appears that is not the trained model."""

import importlib
import io
import json
import pathlib
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from fada_tf import forms
from fada_tf.data.images import encode_png
from fada_tf.data.transforms import resize_image
from fada_tf.errors import InputError
from fada_tf.evaluation.prediction import Predictor
from fada_tf.evaluation.views import Views
from fada_tf.export import parity, portable, version, warmup
from fada_tf.export.signatures import ServedSegmenter, ServingOptions
from fada_tf.runs import checkpoint
from fada_tf.runs.results import PAPER_SCALES
from tests import scenes, trained
from tests.pictures import bomb, picture_file, sixteen_bits

LIMIT = f"1 to {trained.OPTIONS.max_pixels} pixels"


@pytest.fixture(scope="module")
def run(trained_run) -> str:
    return trained_run


@pytest.fixture(scope="module")
def folder(exported) -> pathlib.Path:
    return exported[0]


@pytest.fixture(scope="module")
def signatures(folder):
    return tf.saved_model.load(str(folder)).signatures


def encoded(signatures, *data: bytes) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in signatures["encoded"](image_bytes=tf.constant(list(data))).items()}


def test_the_export_reports_records_and_parity(exported):
    assert [line.split(":")[0] for line in exported[1]] == [
        "warm-up", "parity of serving_default on 2 pictures", "parity of encoded on 2 pictures",
    ]  # fmt: skip


def test_signatures_are_the_public_interface(folder):
    meta = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]
    seen = {}
    for name in set(meta.signature_def) - {"__saved_model_init_op"}:
        signature = meta.signature_def[name]
        seen[name] = tuple(
            {
                key: (tf.as_dtype(info.dtype).name, [dim.size for dim in info.tensor_shape.dim])
                for key, info in side.items()
            }
            for side in (signature.inputs, signature.outputs)
        )
    images = {"images": ("uint8", [-1, -1, -1, 3])}
    assert seen == {
        "serving_default": (images, {"class_map": ("uint8", [-1, -1, -1])}),
        "probabilities": (images, {"probabilities": ("float32", [-1, -1, -1, 3])}),
        "encoded": (
            {"image_bytes": ("string", [-1])},
            {"mask_png_bytes": ("string", [-1]), "height": ("int32", [-1]), "width": ("int32", [-1])},
        ),
    }


def test_the_graph_has_no_python_no_xla_and_only_the_model_s_variables(folder, run):
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert not [node.op for node in nodes if "PyFunc" in node.op or "Xla" in node.op]
    for function in graph.library.function:
        assert not any(function.attr[name].b for name in ("_XlaMustCompile", "jit_compile"))
    shapes = [tuple(shape) for name, shape in tf.train.list_variables(str(folder / "variables/variables")) if shape]
    expected = [tuple(variable.shape) for variable in checkpoint.load_segmenter(run).variables]
    assert sorted(shapes) == sorted(expected)


@pytest.mark.parametrize("machine", ["cpu", pytest.param("plain", marks=pytest.mark.slow)])
def test_the_graph_holds_plain_convolutions_whatever_machine_wrote_it(run, tmp_path, machine, caplog):
    with forms.chosen(machine):
        path = version.export_version(trained.plan(run, tmp_path, batches=(1,)), trained.pictures(1))
    graph = saved_model_pb2.SavedModel.FromString(pathlib.Path(path, version.GRAPH).read_bytes()).meta_graphs[0]
    nodes = [node for function in graph.graph_def.library.function for node in function.node_def]
    convolved = [node for node in nodes if node.op == "Conv2D"]
    kernels = [variable for variable in checkpoint.load_segmenter(run).variables if len(variable.shape) == 4]
    assert len(convolved) == 3 * len(kernels)
    assert {1, 2, 4, 6, 12, 18, 24} == {(node.attr["dilations"].list.i or [1, 1])[1] for node in convolved}
    for word in ("ToSpace", "ToBatch", "Backprop"):
        assert not [node.op for node in nodes if word in node.op]
    assert not [node.name for node in nodes if "_gradient_op_type" in node.attr]
    with caplog.at_level("WARNING", "absl"):
        tf.saved_model.load(path)
    assert "custom gradients" not in caplog.text


def test_class_maps_are_those_of_prediction(signatures, run):
    predictor = Predictor(checkpoint.load_segmenter(run), 24, 32)
    for picture in trained.pictures():
        expected = predictor(picture)
        assert len(np.unique(expected)) > 1
        class_map = signatures["serving_default"](images=picture[None])["class_map"][0].numpy()
        assert np.mean(class_map == expected) > 0.999
        probabilities = signatures["probabilities"](images=picture[None])["probabilities"][0].numpy()
        np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)
        assert np.mean(probabilities.argmax(-1) == expected) > 0.999


def test_files_of_different_sizes_become_masks_with_the_classes_colours(signatures):
    pictures = trained.pictures(3)
    outputs = encoded(signatures, *map(encode_png, pictures))
    for index, picture in enumerate(pictures):
        mask = Image.open(io.BytesIO(outputs["mask_png_bytes"][index]))
        mask.load()
        class_map = signatures["serving_default"](images=picture[None])["class_map"][0].numpy()
        np.testing.assert_array_equal(np.asarray(mask), class_map)
        np.testing.assert_array_equal(
            np.asarray(mask.convert("RGB")), np.array(list(scenes.CLASSES.values()))[class_map]
        )
        assert (outputs["height"][index], outputs["width"][index]) == picture.shape[:2]


@pytest.mark.parametrize(
    "data",
    [
        picture_file("L"), picture_file("P"), picture_file("1"), picture_file("RGB", "JPEG"), picture_file("L", "JPEG"),
        picture_file("RGB", "JPEG", progressive=True),
    ],
    ids=["grey", "palette", "1 bit", "jpeg", "grey jpeg", "progressive jpeg"],
)  # fmt: skip
def test_kinds_of_pictures_that_are_served(signatures, data):
    outputs = encoded(signatures, data)
    assert Image.open(io.BytesIO(outputs["mask_png_bytes"][0])).size == (40, 20)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no picture", "not a JPEG or PNG"), (b"", "not a JPEG or PNG"), (picture_file("RGB", "GIF"), "not a JPEG or"),
        (bomb(), LIMIT), (picture_file("RGB", size=(400, 251)), LIMIT),
        (picture_file("RGB", "JPEG", size=(400, 251)), LIMIT),
        (sixteen_bits(), "8 bits a channel"), (picture_file("RGBA"), "channels:"), (picture_file("LA"), "channels:"),
        (picture_file("CMYK", "JPEG"), "channels:"), (picture_file("RGB")[:200], "PNG"),
        (picture_file("RGB", "JPEG")[:400], "JPEG"), (b"\x89PNG\r\n\x1a\n", "pixels"), (b"\xff\xd8\xff", "JPEG"),
    ],
    ids=[
        "text", "empty", "gif", "bomb", "large png", "large jpeg", "16 bits", "4 channels", "grey with alpha", "cmyk",
        "cut png", "cut jpeg", "png start only", "jpeg start only",
    ],
)  # fmt: skip
def test_bad_files_are_refused(signatures, data, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        encoded(signatures, data)


@pytest.mark.parametrize("shape", [(0, 9, 9), (1, 0, 9), (4, 9, 9), (1, 400, 251), (2, 250, 201)])
@pytest.mark.parametrize("signature", ["serving_default", "probabilities"])
def test_requests_are_bounded(signatures, signature, shape):
    with pytest.raises(tf.errors.InvalidArgumentError, match="in a request"):
        signatures[signature](images=tf.zeros([*shape, 3], tf.uint8))


@pytest.mark.parametrize("count", [0, trained.OPTIONS.max_batch + 1])
def test_files_in_a_request_are_bounded(signatures, count):
    with pytest.raises(tf.errors.InvalidArgumentError, match="pictures in a request"):
        signatures["encoded"](image_bytes=tf.constant([b""] * count, tf.string))


def test_manifest_classes_and_warm_up_records(folder, run):
    manifest = json.loads((folder / version.MANIFEST).read_text())
    assert manifest["checkpoint"] == checkpoint.checkpoint_path(run)
    assert manifest["mean_iou"] == trained.MEAN_IOU
    assert manifest["config"]["model"]["backbone"] == "tiny"
    assert manifest["versions"]["tensorflow"] == tf.__version__
    assert manifest["parity"]["encoded"]["agreement"] > 0.999
    classes = json.loads((folder / "assets/classes.json").read_text())["classes"]
    assert [entry["name"] for entry in classes] == list(scenes.CLASSES)

    served = set()
    for record in tf.data.TFRecordDataset(str(folder / warmup.WARMUP_FILE)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "segmenter"
        ((name, tensor),) = request.inputs.items()
        values = tf.make_ndarray(tensor)
        size = values.shape[1:3] if name == "images" else Image.open(io.BytesIO(values[0])).size[::-1]
        served.add((request.model_spec.signature_name, len(values), size))
    sizes = [picture.shape[:2] for picture in trained.pictures()]
    names = ("serving_default", "encoded", "probabilities")
    assert served == {(name, batch, size) for name in names for batch in (1, 2) for size in sizes}


def test_versions_count_up_and_are_never_overwritten(folder, run):
    assert folder.name == "5"
    with pytest.raises(InputError, match="5 exists"):
        version.export_version(trained.plan(run, folder.parents[1], version=5), trained.pictures(1))


def test_multi_scale_does_not_depend_on_the_side_and_differs_from_one_scale(run):
    segmenter, space = checkpoint.load_segmenter(run), checkpoint.run_label_space(run)
    served = ServedSegmenter(segmenter, space, ServingOptions(24, 32, views=Views(PAPER_SCALES, flip=True)))
    (picture,) = trained.pictures(1)
    probabilities, flipped = (
        served.probabilities(tf.constant(images))["probabilities"][0].numpy()
        for images in (picture[None], picture[None, :, ::-1])
    )
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(flipped[:, ::-1], probabilities, atol=1e-4)
    assert np.abs(parity.reference(segmenter, trained.OPTIONS, picture, picture.shape[:2]) - probabilities).max() > 0.01
    class_map = served.class_maps(tf.constant(picture[None]))["class_map"][0].numpy()
    np.testing.assert_array_equal(class_map, probabilities.argmax(-1))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), [("litert", "ai_edge_litert"), ("onnx", "tf2onnx")])
@pytest.mark.filterwarnings("ignore")  # the converters warn of TensorFlow's and numpy's plans
def test_other_formats_compute_the_same_and_say_what_they_take_and_give(run, tmp_path, name, package):
    pytest.importorskip(package, reason=f"{package} is in the extra {name}")
    lines = []
    path = version.export_version(trained.plan(run, tmp_path, formats=(name,)), trained.pictures(1), lines.append)
    assert f"parity of {name} on 1 pictures: same class in" in lines[-1]
    file = str(pathlib.Path(path, "portable", portable.FILES[name]))
    assert json.loads(pathlib.Path(path, version.MANIFEST).read_text())["parity"][name]["difference"] < 1e-3

    (picture,) = trained.pictures(1)
    resized = Image.fromarray(picture).resize((32, 24), Image.Resampling.BICUBIC)  # as the file's own words say
    (probabilities,) = portable.probabilities(name, file, [np.asarray(resized)])
    segmenter = checkpoint.load_segmenter(run)
    expected = parity.reference(segmenter, ServingOptions(24, 32), picture, (24, 32))
    assert probabilities.shape == (24, 32, 3)
    assert np.mean(probabilities.argmax(-1) == expected.argmax(-1)) > 0.97  # Pillow's grey levels differ by 1 at most
    if name == "onnx":
        session = importlib.import_module("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()], [one.name for one in session.get_outputs()]
        texts = session.get_modelmeta().custom_metadata_map
    else:
        signatures = importlib.import_module("ai_edge_litert.interpreter").Interpreter(file).get_signature_list()
        ((_, inputs_and_outputs),) = signatures.items()
        names = tuple(inputs_and_outputs.values())
        with zipfile.ZipFile(file) as archive:
            texts = {key: archive.read(key).decode() for key in archive.namelist()}
    assert names == (["images"], ["probabilities"])
    assert texts == portable.metadata(checkpoint.run_label_space(run), ServingOptions(24, 32))


def test_files_of_other_formats_say_the_classes_and_how_to_resize(run):
    texts = portable.metadata(checkpoint.run_label_space(run), ServingOptions(24, 32))
    assert texts["labels.txt"].splitlines() == list(scenes.CLASSES)
    classes = json.loads(texts["classes.json"])["classes"]
    assert [tuple(entry["color"]) for entry in classes] == list(map(tuple, scenes.CLASSES.values()))
    assert "resize((32, 24), Image.Resampling.BICUBIC)" in texts["input.txt"]
    (picture,) = trained.pictures(1)
    ours = resize_image(tf.constant(picture), (24, 32)).numpy().astype(int)
    pillows = Image.fromarray(picture).resize((32, 24), Image.Resampling.BICUBIC)
    assert np.abs(ours - np.asarray(pillows)).max() <= 1


@pytest.mark.parametrize(("name", "words"), [("tflite", "unknown: give saved_model, litert, onnx"), ("", "unknown")])
def test_an_unknown_format_is_refused(run, tmp_path, name, words):
    with pytest.raises(InputError, match=words):
        version.export_version(trained.plan(run, tmp_path, formats=(name,)), trained.pictures(1))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_remote_folder_of_models(run, monkeypatch):
    models = "ram://export/models"
    for number in (1, 2):
        path = version.export_version(trained.plan(run, models, batches=(1,)), trained.pictures(1))
        assert path == f"{models}/segmenter/{number}"
    assert {"class_map"} == tf.saved_model.load(path).signatures["serving_default"].structured_outputs.keys()
    for name in (version.MANIFEST, warmup.WARMUP_FILE, "assets/classes.json", "variables/variables.index"):
        assert tf.io.gfile.exists(f"{path}/{name}"), name

    def full(old, new):
        if new.endswith(version.GRAPH):
            raise tf.errors.ResourceExhaustedError(None, None, "the disk is full")
        copy(old, new)

    copy = tf.io.gfile.copy
    monkeypatch.setattr(tf.io.gfile, "copy", full)
    with pytest.raises(
        InputError, match=r"segmenter/3 cannot be written \(the disk is full\): choose another --models"
    ):
        version.export_version(trained.plan(run, models, batches=(1,)), trained.pictures(1))
    assert not tf.io.gfile.exists(f"{models}/segmenter/3")


def test_a_model_that_differs_leaves_nothing(run, tmp_path, monkeypatch):
    other = parity.reference
    monkeypatch.setattr(parity, "reference", lambda *arguments: other(*arguments)[::-1])
    with pytest.raises(InputError, match="differs from the trained model"):
        version.export_version(trained.plan(run, tmp_path), trained.pictures(1))
    assert not list((tmp_path / "segmenter").iterdir())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batches": (1,) * 400}, "more than 1000"), ({"sizes": ((400, 251),)}, "--max_pixels=100000"),
        ({"batches": (1, 4)}, "--max_batch=3"), ({"name": "a/b"}, "a/b"), ({"batches": ()}, "batches is empty"),
        ({"name": "a[1]"}, r"a\[1\] has one of \[ \] \* \? in it"),
        ({"options": ServingOptions(24, 32, max_pixels=3000), "sizes": ((20, 30),)}, "48x64 exceed --max_pixels=3000"),
    ],
    ids=["records", "too large", "too many pictures", "bad name", "no batches", "pattern", "picture too large"],
)  # fmt: skip
def test_plans_that_cannot_work_leave_nothing(run, tmp_path, values, words):
    with pytest.raises(InputError, match=words):
        version.export_version(trained.plan(run, tmp_path, **values), trained.pictures(1))
    assert not [path for path in tmp_path.rglob("*") if path.name != "segmenter"]


def test_raw_requests_that_the_graph_refuses_are_not_warmed_up(tmp_path):
    assert (
        warmup.write_warmup(str(tmp_path), "segmenter", trained.pictures(), [(200, 300)], [1, 2], trained.OPTIONS)
        == 3 + 1
    )
