import numpy as np
import pytest
import tensorflow as tf

from fada_tf.config import Config, method_settings
from fada_tf.data import labels
from fada_tf.errors import InputError
from fada_tf.methods import fada
from fada_tf.models import backbone_files
from fada_tf.models.reference_names import to_reference
from fada_tf.models.segmenter import build_segmenter
from fada_tf.models.weights import load_initial_weights
from fada_tf.runs import checkpoint, directory
from fada_tf.training import checkpoints, weight_conversion
from tests import scenes
from tests.goldens import recipe

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra `convert`)")

CLASSES = len(scenes.CLASSES)
COUNTER = "num_batches_tracked"


def state_of(module: str, backbone: str, *, counters: bool = False) -> dict[str, torch.Tensor]:
    """Returns weights under the names and in the shapes of the authors' module, for `CLASSES` classes."""
    state = {}
    for name, shape in recipe.state_dict_names()[backbone][module].items():
        if name.endswith(COUNTER):
            if counters:
                state[name] = torch.tensor(9)
            continue
        shape = tuple(CLASSES if length == 19 else length for length in shape)
        state[name] = torch.tensor(recipe.draw(name, shape, seed=5))
    return state


def assert_equal(ours: dict[str, np.ndarray], theirs: dict[str, torch.Tensor]):
    """Asserts bit for bit equal tensors under equal names, but for the step counters."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if not name.endswith(COUNTER):
            np.testing.assert_array_equal(value, theirs[name].numpy(), err_msg=name)


@pytest.fixture
def save(tmp_path):
    def save(entries, name="weights.pth", new_format=True):
        torch.save(entries, tmp_path / name, _use_new_zipfile_serialization=new_format)
        return str(tmp_path / name)

    return save


@pytest.fixture
def classes(tmp_path) -> str:
    scenes.write_class_file(tmp_path / "classes.json")
    return str(tmp_path / "classes.json")


def published_name(name: str) -> str:
    """Turns a name of the authors' feature extractor into the one in a published file."""
    _, position, *variable = name.split(".")
    if not position.isdigit():
        return name.removeprefix("backbone.")
    return ".".join(["features", str(int(position) + (int(position) >= 23)), *variable])


@pytest.mark.parametrize(
    ("backbone", "new_format", "account"),
    [
        ("resnet50", False, "resnet50: 265 of 320 tensors loaded; missing: none; unused: fc.weight, fc.bias; 53 step"),
        (
            "vgg16", True,
            "vgg16: 26 of 28 tensors loaded; missing: fc6/bias, fc6/kernel, fc7/bias, fc7/kernel; "
            "unused: classifier.1.weight, classifier.1.bias",
        ),
    ],
)  # fmt: skip
def test_published_backbones_become_initial_weights(save, tmp_path, backbone, new_format, account):
    state = state_of("feature_extractor", backbone, counters=True)
    fresh = ("backbone.29", "backbone.31") if backbone == "vgg16" else ()
    head = "classifier.1" if backbone == "vgg16" else "fc"
    published = {published_name(name): tensor for name, tensor in state.items() if not name.startswith(fresh)}
    published |= {f"{head}.weight": torch.ones(2, 2), f"{head}.bias": torch.ones(2)}
    published = {"vgg16": {"model": {"state_dict": published}, "epoch": 3}, "resnet50": published}[backbone]
    output = str(tmp_path / "made" / "weights.npz")
    (line,) = weight_conversion.convert_backbone(save(published, new_format=new_format), backbone, output)
    assert line.startswith(account)

    segmenter = build_segmenter(backbone, CLASSES)
    load_initial_weights(segmenter, output)
    loaded = to_reference("feature_extractor", segmenter.feature_extractor)
    kept = {name for name in state if not name.endswith(COUNTER) and not name.startswith(fresh)}
    assert_equal({name: loaded[name] for name in kept}, {name: state[name] for name in kept})


@pytest.mark.parametrize(
    ("backbone", "prefix", "new_format", "batch_norm"),
    [("vgg16", "module.", False, "frozen"), ("resnet50", "", True, "synchronized")],
)
def test_checkpoints_of_the_authors_go_in_and_out(
    save, classes, tmp_path, monkeypatch, backbone, prefix, new_format, batch_norm
):
    """VGG-16 as after the adversarial stage, with its frozen batch norm (it has none); ResNet-50 as self-distilled."""
    counters = batch_norm == "synchronized"
    modules = ["feature_extractor", "classifier"] + ([] if counters else ["model_D"])
    states = {module: state_of(module, backbone, counters=counters) for module in modules}
    entries = {module: {prefix + name: tensor for name, tensor in states[module].items()} for module in modules}
    entries |= {"iteration": 40, "optimizer_fea": {"state": {0: {"momentum_buffer": torch.ones(2)}}}}
    if prefix:
        entries = {"state_dict": entries, "iteration": entries.pop("iteration")}
    run, path = str(tmp_path / "runs" / "authors"), save(entries, "model_iter000040.pth", new_format)
    account = weight_conversion.convert_checkpoint(path, backbone, classes, run, height=24, width=32)
    for module, line in zip(modules, account, strict=False):
        loaded = sum(not name.endswith(COUNTER) for name in states[module])
        assert line.startswith(f"{module}: {loaded} of {len(states[module])} tensors loaded; missing: none; unused: no")
    assert account[len(modules) :] == [
        "other entries, unused: optimizer_fea", f"batch norm: {batch_norm}; iteration: 40"
    ]  # fmt: skip

    assert checkpoint.checkpoint_path(run).endswith("/checkpoints/ckpt-40")
    assert checkpoint.run_label_space(run).names == tuple(scenes.CLASSES)
    assert checkpoint.input_size(run, 0, 0) == (24, 32)
    segmenter = checkpoint.load_segmenter(run)
    assert (segmenter.backbone, segmenter.batch_norm) == (backbone, batch_norm)
    assert_equal(to_reference("feature_extractor", segmenter.feature_extractor), states["feature_extractor"])
    assert_equal(to_reference("classifier", segmenter.classifier), states["classifier"])

    back = str(tmp_path / "back.pth")
    account = weight_conversion.export_checkpoint(run, back)
    assert account[-1] == "not written: save_counter"
    written = torch.load(back, weights_only=True)
    assert list(written) == modules
    for module, state in written.items():  # the very names that the authors' strict load_state_dict asks for
        assert_equal({name: tensor.numpy() for name, tensor in state.items()}, states[module])


@pytest.fixture
def tiny(monkeypatch) -> dict[str, dict[str, torch.Tensor]]:
    """A checkpoint as the authors' code would write it of the `tiny` backbone, if it had one."""
    monkeypatch.setattr(backbone_files, "BACKBONES", ("tiny",))
    segmenter = build_segmenter("tiny", CLASSES, "synchronized", seed=4)
    models = {"feature_extractor": segmenter.feature_extractor, "classifier": segmenter.classifier}
    return {
        module: {name: torch.tensor(value) for name, value in to_reference(module, model).items()}
        for module, model in models.items()
    }


def test_a_checkpoint_of_training_goes_out_with_its_discriminator(tiny, tmp_path):
    config = Config(method=method_settings("fada"))
    config.model.backbone = "tiny"
    space = labels.LabelSpace("scenes", tuple(scenes.CLASSES), tuple(scenes.CLASSES.values()))
    method = fada.build(config, build_segmenter("tiny", CLASSES, seed=8))
    run, path = str(tmp_path / "run"), str(tmp_path / "run.pth")
    directory.write_run_directory(run, config, space)
    saved = checkpoints.make_checkpoint(method, tf.Variable(7, dtype=tf.int64), tf.Variable(tf.zeros(1)))
    tf.train.CheckpointManager(saved, f"{run}/checkpoints", max_to_keep=1).save(7)
    account = weight_conversion.export_checkpoint(run, path)
    assert sorted(account[-1].removeprefix("not written: ").split(", ")) == [
        "discriminator_optimizer", "progress", "save_counter", "segmenter_optimizer", "step",
    ]  # fmt: skip
    models = {
        "feature_extractor": method.segmenter.feature_extractor,
        "classifier": method.segmenter.classifier,
        "model_D": method.discriminator,
    }
    written = torch.load(path, weights_only=True)
    assert written.keys() == models.keys()
    for module, model in models.items():
        assert_equal(to_reference(module, model), written[module])


def test_left_over_tensors_are_listed_unless_they_belong_to_a_layer_of_the_model(tiny, save, classes, tmp_path):
    tiny["feature_extractor"]["backbone.aux.weight"] = torch.ones(2)
    account = weight_conversion.convert_checkpoint(save(tiny), "tiny", classes, str(tmp_path / "run"))
    assert "unused: backbone.aux.weight; 11 step counters, not needed" in account[0]
    tiny["classifier"]["conv2d_list.4.bias"] = torch.ones(CLASSES)
    with pytest.raises(InputError, match=r"not hold this classifier: it has besides conv2d_list\.4\.bias: check"):
        weight_conversion.convert_checkpoint(save(tiny), "tiny", classes, str(tmp_path / "run"))


NAME = "backbone.stage0.down.conv.weight"


def broken(module, name, value):
    return lambda entries: {**entries, module: {**entries[module], name: value}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: {"feature_extractor": e["feature_extractor"]}, "lacks classifier, it is no checkpoint of the auth"),
        (lambda e: e["feature_extractor"], "lacks feature_extractor and classifier, .*an .npz file as the output"),
        (lambda e: {**e, "classifier": 3}, "classifier of .* is not a dictionary of tensors"),
        (lambda e: {**e, "iteration": "40"}, "iteration of .* is '40': it should be a whole number"),
        (lambda e: {**e, "classifier": {}}, r"it lacks conv2d_list\.0\.bias, .* \.\.\.: check the backbone"),
        (broken("feature_extractor", NAME, torch.ones(3)), r"weight has shape \(3,\), and \(32, 3, 3, 3\) is wanted"),
        (broken("feature_extractor", NAME, torch.full((32, 3, 3, 3), np.nan)), f"{NAME} that are not finite"),
        (broken("feature_extractor", NAME, torch.ones(32, 3, 3, 3).int()), f"{NAME} that are not finite real"),
        (broken("classifier", "module.conv2d_list.0.bias", torch.ones(3)), "same names with and without 'module.'"),
        (broken("classifier", "conv2d_list.0.bias", torch.ones(19)), "has 19 classes, and label space 'scenes' has 3"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_is_written(
    tiny, save, classes, tmp_path, change, message
):
    with pytest.raises(InputError, match=message):
        weight_conversion.convert_checkpoint(save(change(tiny)), "tiny", classes, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_discriminator_of_another_class_count_is_refused(tiny, save, classes, tmp_path):
    tiny["model_D"] = {"cls1.weight": torch.ones(19, 128, 3, 3)}
    with pytest.raises(InputError, match=r"this discriminator \(model_D: cls1\.weight has shape \(19, 128, 3, 3\), an"):
        weight_conversion.convert_checkpoint(save(tiny), "tiny", classes, str(tmp_path / "run"))


def test_a_conversion_may_be_run_again_and_another_run_is_not_overwritten(tiny, save, classes, tmp_path):
    run = str(tmp_path / "run")
    for _ in range(2):
        weight_conversion.convert_checkpoint(save(tiny, "first.pth"), "tiny", classes, run)
    with pytest.raises(InputError, match=r"holds another run .*: choose another run directory, or"):
        weight_conversion.convert_checkpoint(save(tiny, "second.pth"), "tiny", classes, run)


def test_initial_weights_are_read_from_a_file_of_pytorch(tiny, save):
    segmenter = build_segmenter("tiny", CLASSES, "synchronized", seed=8)
    account = load_initial_weights(segmenter, save({"state_dict": tiny["feature_extractor"]}))
    assert account.startswith("tiny: ")
    for name, value in to_reference("feature_extractor", segmenter.feature_extractor).items():
        np.testing.assert_array_equal(value, tiny["feature_extractor"][name])
    with pytest.raises(InputError, match="does not hold this tiny: it lacks backbone"):
        load_initial_weights(segmenter, save({"conv1.weight": torch.ones(3)}))


def test_what_a_backbone_file_is_not(tiny, save, tmp_path):
    output = str(tmp_path / "weights.npz")
    with pytest.raises(InputError, match=r"is a checkpoint of the authors' code: name a folder as the output"):
        weight_conversion.convert_backbone(save(tiny), "tiny", output)
    with pytest.raises(InputError, match="does not hold this tiny: it lacks backbone"):
        weight_conversion.convert_backbone(save({"conv1.weight": torch.ones(3)}), "tiny", output)
    with pytest.raises(InputError, match=r"sees RGB in 0\.\.1, and vgg16 here BGR in 0\.\.255"):
        weight_conversion.convert_backbone(save({}, "vgg16-397923af.pth"), "tiny", output)
    with pytest.raises(InputError, match="backbone 'resnet50' is not one of the authors' code: choose from tiny"):
        weight_conversion.convert_backbone(save({}), "resnet50", output)
    assert not (tmp_path / "weights.npz").exists()


def test_a_backbone_that_the_authors_lack_is_not_exported(tiny, save, classes, tmp_path, monkeypatch):
    weight_conversion.convert_checkpoint(save(tiny), "tiny", classes, str(tmp_path / "run"))
    monkeypatch.undo()
    with pytest.raises(InputError, match="backbone 'tiny' is not one of the authors' code: choose from resnet50, res"):
        weight_conversion.export_checkpoint(str(tmp_path / "run"), str(tmp_path / "run.pth"))
