import keras
import numpy as np
import pytest

from fada_tf.errors import InputError
from fada_tf.models.reference_names import from_reference, to_reference
from fada_tf.models.segmenter import build_segmenter
from tests.goldens import conditioning, forward, recipe

FEATURE_PARAMETERS = {"resnet50": 23_508_032, "resnet101": 42_500_160, "vgg16": 28_872_512}


@pytest.fixture(scope="module", params=forward.FORWARD)
def golden(request):
    backbone, batch_norm = forward.FORWARD[request.param]
    return recipe.load(request.param) | {"name": request.param, "backbone": backbone, "batch_norm": batch_norm}


@pytest.fixture(scope="module")
def segmenter(golden):
    return build_segmenter(golden["backbone"], int(golden["num_classes"]), golden["batch_norm"])


@pytest.fixture(scope="module")
def modules(golden, segmenter) -> dict[str, keras.Model]:
    return forward.build_modules(segmenter, int(golden["seed"]))


def test_forward_equals_the_reference(golden, modules):
    values = forward.values(modules, golden["image"])
    errors = forward.errors({key: golden[key] for key in values}, values)
    allowed = conditioning.tolerances(golden["name"])["outputs"]
    assert max(errors.values()) < allowed, errors


def test_state_dicts_have_the_names_and_shapes_of_the_reference(golden, modules):
    for module, expected in recipe.state_dict_names()[golden["backbone"]].items():
        if golden["batch_norm"] == "frozen":
            expected = {name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")}
        expected = {
            name: [int(golden["num_classes"]) if length == 19 else length for length in shape]
            for name, shape in expected.items()
        }
        shapes = {name: list(value.shape) for name, value in to_reference(module, modules[module]).items()}
        assert shapes == expected


def test_parameter_counts(golden, segmenter, modules):
    counts = {
        module: sum(int(np.prod(v.shape)) for v in model.variables if not v.name.startswith("moving_"))
        for module, model in modules.items()
    }
    channels, classes = segmenter.feature_channels, int(golden["num_classes"])
    assert counts == {
        "feature_extractor": FEATURE_PARAMETERS[golden["backbone"]],
        "classifier": 4 * classes * (9 * channels + 1),
        "model_D": 256 * (9 * channels + 1) + 128 * (9 * 256 + 1) + 2 * classes * (9 * 128 + 1),
    }


@pytest.fixture
def tiny():
    return build_segmenter("tiny", 3, "synchronized", seed=1).feature_extractor


def test_state_dict_goes_out_and_in(tiny):
    state = to_reference("feature_extractor", tiny)
    other = build_segmenter("tiny", 3, "synchronized", seed=2).feature_extractor
    # Checkpoints of DistributedDataParallel have a prefix; torchvision's lack one and hold a classification head.
    renamed = {f"module.{name.removeprefix('backbone.')}": value for name, value in state.items()}
    account = from_reference("feature_extractor", other, renamed | {"fc.weight": np.zeros(3)})
    assert len(account.loaded) == len(tiny.variables)
    assert not account.missing
    assert account.unused == ("backbone.fc.weight",)
    for name, value in to_reference("feature_extractor", other).items():
        np.testing.assert_array_equal(value, state[name])


def test_missing_tensors_are_listed_and_wrong_shapes_refused(tiny):
    name = "backbone.stage0.down.conv.weight"
    state = to_reference("feature_extractor", tiny)
    kernel = state.pop(name)
    assert from_reference("feature_extractor", tiny, state).missing == (name,)
    with pytest.raises(InputError, match=r"weight has shape \(31, 3, 3, 3\), and \(32, 3, 3, 3\) is wanted"):
        from_reference("feature_extractor", tiny, {name: kernel[1:]})
