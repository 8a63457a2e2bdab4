"""Training steps against the authors' modules: losses, gradients and weights of a few optimizer steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config
from fada_tf.methods.base import Method
from fada_tf.models import reference_names
from fada_tf.models.segmenter import Segmenter, build_segmenter
from tests.goldens import recipe

# The reference's modules and our parameter groups.
MODULES = {"feature_extractor": "feature_extractor", "classifier": "classifier", "model_D": "discriminator"}
# Our losses are unweighted; the reference's series hold these multiples of them.
SERIES = {
    "segmentation": ("loss_seg", 1.0),
    "adversarial": ("loss_adv", 0.001),
    "discriminator_source": ("loss_d_source", 0.5),
    "discriminator_target": ("loss_d_target", 0.5),
}


class AlreadyNormalized(Segmenter):
    """The golden images are random numbers, not pictures."""

    def normalize(self, images):
        return images


def build(golden: dict[str, np.ndarray]) -> Method:
    """Makes the method, with the weights, that a golden file was made with."""
    setting = {name.removeprefix("arg_"): value.item() for name, value in golden.items() if name.startswith("arg_")}
    source_only = setting.get("src_only", False)
    config = Config()
    config.model.backbone = setting["name"]
    config.model.batch_norm = "frozen" if setting.get("freeze", True) else "synchronized"
    config.optimizer.learning_rate = setting.get("base", 2.5e-4)
    config.optimizer.weight_decay = setting.get("wd", 5e-4)
    config.optimizer.horizon = setting.get("maxit", 62_500)
    config.method.name = "source_only" if source_only else "fada"
    config.method.segmentation_temperature = 1.0 if source_only else 1.8
    segmenter = build_segmenter(config.model.backbone, setting["K"], config.model.batch_norm)
    segmenter.__class__ = AlreadyNormalized
    method = registry.load("fada_tf.methods", config.method.name).build(config, segmenter)
    for module, model in models(method).items():
        recipe.assign(module, model, setting["seed"])
    return method


def models(method: Method) -> dict[str, keras.Model]:
    """Returns our models by the reference's module names."""
    found = {"feature_extractor": method.segmenter.feature_extractor, "classifier": method.segmenter.classifier}
    return found | ({"model_D": method.discriminator} if "discriminator" in method.helpers else {})


def batches(golden: dict[str, np.ndarray], step: int, domains: tuple[str, ...]) -> list[dict[str, tf.Tensor]]:
    """Returns the images and labels of one golden step."""
    seed, count = golden["arg_seed"].item(), golden["arg_bs"].item()
    found = {}
    for offset, domain in ((100, "source"), (300, "target")):
        height, width = (golden[f"arg_{side}{domain[0]}"].item() for side in "hw")
        image = recipe.image(seed + offset + step, (count, 3, height, width))
        found[domain] = {"image": tf.constant(recipe.channels_last(image))}
    size = found["source"]["image"].shape[:3]
    found["source"]["label"] = tf.constant(recipe.labels(seed + 200 + step, golden["arg_K"].item(), tuple(size)))
    return [found[domain] for domain in domains]


def by_reference_name(method: Method, values: dict[str, list]) -> dict[str, np.ndarray]:
    """Returns float64 values of trained variables, given by parameter group, under the reference's names."""
    named = {}
    for module, model in models(method).items():
        names = [name for name in reference_names.to_reference(module, model) if not name.endswith("tracked")]
        variables = [variable for layer in model.layers for variable in layer.variables]
        own = {variable.path: name for variable, name in zip(variables, names, strict=True)}
        group = MODULES[module]
        for variable, value in zip(method.groups[group].variables, values[group], strict=True):
            named[f"{module}.{own[variable.path]}"] = np.asarray(value, np.float64)
    return named


@pytest.mark.parametrize(
    "name",
    [
        "steps_source_resnet50_k19",
        "steps_source_resnet50_k19_bn",
        "steps_adversarial_resnet50_k19",
        "steps_adversarial_vgg16_k16",
    ],
)
def test_steps_are_those_of_the_reference(name):
    golden = recipe.load(name)
    method = build(golden)

    losses_and_gradients, step = tf.function(method.losses_and_gradients), tf.function(method.step)
    _, gradients = losses_and_gradients(*batches(golden, 0, method.domains))
    gradient_norms = {key: np.linalg.norm(value) for key, value in by_reference_name(method, gradients).items()}
    expected = dict(zip(golden["grad_names"], golden["grad_norms"], strict=True))
    assert gradient_norms.keys() == expected.keys()
    errors = np.array([abs(gradient_norms[key] / expected[key] - 1) for key in expected])
    # Changing the images by 1e-7 of their values moves single norms by 1e-3 under frozen batch norm, where one ReLU
    # input crosses zero, and by 6e-3 under ordinary batch norm: that is how far two exact programs can differ.
    well_conditioned = method.segmenter.batch_norm == "frozen"
    assert np.median(errors) < (2e-4 if well_conditioned else 1e-3)
    assert np.quantile(errors, 0.95) < (1e-3 if well_conditioned else 6e-3)
    assert errors.max() < (2e-3 if well_conditioned else 1e-2)

    for index in range(len(golden["lr"])):
        rate = method.groups["feature_extractor"].optimizer.learning_rate
        np.testing.assert_allclose(rate, golden["lr"][index], rtol=1e-5)
        measures = step(*batches(golden, index, method.domains))
        for key in SERIES.keys() & set(method.loss_names):
            series, weight = SERIES[key]
            value, tolerance = measures[key], 1e-4 if index == 0 else 1e-3
            np.testing.assert_allclose(weight * value, golden[series][index], rtol=tolerance, err_msg=f"{key}, {index}")

    weights = by_reference_name(method, {group: part.variables for group, part in method.groups.items()})
    expected_norms = dict(zip(golden["param_names"], golden["param_norms_after"], strict=True))
    expected_sums = dict(zip(golden["param_names"], golden["param_sums_after"], strict=True))
    assert weights.keys() <= expected_norms.keys()
    for key, value in weights.items():
        norm = np.linalg.norm(value)
        np.testing.assert_allclose(norm, expected_norms[key], rtol=1e-4, err_msg=key)
        # A sum of signed values has no scale of its own: its error is measured against the norm of the tensor.
        np.testing.assert_allclose(
            value.sum(), expected_sums[key], atol=1e-3 * norm * np.sqrt(value.size), rtol=0, err_msg=key
        )
