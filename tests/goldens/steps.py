"""The training steps of the golden files, done by our methods: what they do, and how far apart two outcomes are."""

import dataclasses
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.methods.base import Method
from fada_tf.models import reference_names
from fada_tf.models.segmenter import Segmenter, build_segmenter
from tests.goldens import recipe

STEPS = (
    "steps_source_resnet50_k19",
    "steps_source_resnet50_k19_bn",
    "steps_adversarial_resnet50_k19",
    "steps_adversarial_vgg16_k16",
)
# The reference's modules and our parameter groups.
MODULES = {"feature_extractor": "feature_extractor", "classifier": "classifier", "model_D": "discriminator"}
# Our losses are unweighted; the reference's series hold these multiples of them.
SERIES = {
    "segmentation": ("loss_seg", 1.0),
    "adversarial": ("loss_adv", 0.001),
    "discriminator_source": ("loss_d_source", 0.5),
    "discriminator_target": ("loss_d_target", 0.5),
}


@dataclasses.dataclass
class Outcome:
    """What some steps did.

    Attributes:
      gradient_norms: by weight, at the first step.
      losses: series by our name, a value a step, weighted as the reference's.
      learning_rates: of the feature extractor, one a step.
      norm_changes, sum_changes: by weight, its norm and its sum after the last step less those before the first.
      update_norms: by weight, the norm of its difference; empty where only the others are known.
      sizes: by weight, its number of elements.
    """

    gradient_norms: dict[str, float]
    losses: dict[str, np.ndarray]
    learning_rates: np.ndarray
    norm_changes: dict[str, float]
    sum_changes: dict[str, float]
    update_norms: dict[str, float] = dataclasses.field(default_factory=dict)
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)


class AlreadyNormalized(Segmenter):
    """The golden images are random numbers, not pictures."""

    def normalize(self, images):
        return images


class Steps:
    """The steps of one golden file."""

    def __init__(self, name: str, spoil: Callable[[Method], None] | None = None):
        """Makes the method, with the weights, that `name`.npz was made with; `spoil` changes it."""
        self.golden = recipe.load(name)
        self.method = _build(self.golden)
        if spoil is not None:
            spoil(self.method)
        self._gradients = tf.function(self.method.losses_and_gradients)
        self._step = tf.function(self.method.step)
        state = [*self._variables(), *(v for optimizer in self.method.optimizers.values() for v in optimizer.variables)]
        self._start = [(variable, np.array(variable.numpy())) for variable in state]

    def take(self, noise: np.random.Generator | None = None, size: float = 0.0) -> Outcome:
        """Takes all steps from the start, with images and weights that noise has changed by a share of `size`."""

        def changed(values):
            if noise is None or values.dtype != np.float32:
                return values
            return (values * (1 + size * noise.choice([-1.0, 1.0], values.shape))).astype(np.float32)

        weights = {id(variable) for variable in self._variables()}
        for variable, value in self._start:
            variable.assign(changed(value) if id(variable) in weights else value)
        method, steps = self.method, range(len(self.golden["lr"]))
        batches = [
            [batch | {"image": tf.constant(changed(batch["image"]))} for batch in self._batches(step)] for step in steps
        ]
        gradients = self._by_reference_name(self._gradients(*batches[0])[1])
        before = self._weights()
        rates, measures = [], []
        for step in steps:
            rates.append(float(method.optimizers["segmenter"].learning_rates()["feature_extractor"]))
            measures.append(self._step(*batches[step]))
        after = self._weights()
        return Outcome(
            {key: np.linalg.norm(value) for key, value in gradients.items()},
            {
                key: SERIES[key][1] * np.array([float(values[key]) for values in measures])
                for key in SERIES.keys() & set(method.measured)
            },
            np.array(rates),
            {key: np.linalg.norm(value) - np.linalg.norm(before[key]) for key, value in after.items()},
            {key: value.sum() - before[key].sum() for key, value in after.items()},
            {key: np.linalg.norm(value - before[key]) for key, value in after.items()},
            {key: value.size for key, value in after.items()},
        )

    def reference(self) -> Outcome:
        """Returns what the authors' modules did, of which the weights are drawn as ours."""
        golden = self.golden
        for variable, value in self._start:
            variable.assign(value)
        before = self._weights()
        norms, sums = (
            dict(zip(golden["param_names"], golden[f"param_{name}_after"], strict=True)) for name in ("norms", "sums")
        )
        return Outcome(
            dict(zip(golden["grad_names"], golden["grad_norms"], strict=True)),
            {key: golden[series] for key, (series, _) in SERIES.items() if series in golden},
            golden["lr"],
            {key: norms[key] - np.linalg.norm(value) for key, value in before.items()},
            {key: sums[key] - value.sum() for key, value in before.items()},
        )

    def _variables(self) -> Iterator[keras.Variable]:
        return (variable for model in models(self.method).values() for variable in model.variables)

    def _weights(self) -> dict[str, np.ndarray]:
        return self._by_reference_name({name: group.variables for name, group in self.method.groups.items()})

    def _batches(self, step: int) -> list[dict[str, np.ndarray]]:
        """Returns the images and labels of one step."""
        golden = self.golden
        seed, count = golden["arg_seed"].item(), golden["arg_bs"].item()
        found = {}
        for offset, domain in ((100, "source"), (300, "target")):
            height, width = (golden[f"arg_{side}{domain[0]}"].item() for side in "hw")
            image = recipe.image(seed + offset + step, (count, 3, height, width))
            found[domain] = {"image": recipe.channels_last(image)}
        size = found["source"]["image"].shape[:3]
        found["source"]["label"] = tf.constant(recipe.labels(seed + 200 + step, golden["arg_K"].item(), tuple(size)))
        return [found[domain] for domain in self.method.domains]

    def _by_reference_name(self, values: dict[str, list]) -> dict[str, np.ndarray]:
        """Returns float64 values of trained variables, given by parameter group, under the reference's names."""
        return {
            name: np.asarray(value, np.float64)
            for group, names in trained_names(self.method).items()
            for name, value in zip(names, values[group], strict=True)
        }


def errors(one: Outcome, other: Outcome) -> dict[str, list[float]]:
    """Returns how far two outcomes are apart; only the first one's updates are asked for.

    Returns:
      "gradients", shares of each weight's norm, "norms" and "sums", shares of its update: the median, the 95 % quantile
      and the largest of all weights. "losses": the largest share of a series at each step.
    """
    keys = list(one.update_norms)
    updates = np.array([one.update_norms[key] for key in keys])
    # A sum of signed values has no scale of its own.
    scales = {"norms": updates, "sums": updates * np.sqrt([one.sizes[key] for key in keys])}
    found = {"gradients": [abs(other.gradient_norms[key] / one.gradient_norms[key] - 1) for key in one.gradient_norms]}
    for name, mine, theirs in (
        ("norms", one.norm_changes, other.norm_changes),
        ("sums", one.sum_changes, other.sum_changes),
    ):
        found[name] = np.array([abs(mine[key] - theirs[key]) for key in keys]) / scales[name]
    summary = {name: [float(np.quantile(values, q)) for q in (0.5, 0.95, 1)] for name, values in found.items()}
    losses = [np.abs(other.losses[key] / series - 1) for key, series in one.losses.items()]
    return summary | {"losses": [float(value) for value in np.max(losses, axis=0)]}


def _build(golden: dict[str, np.ndarray]) -> Method:
    setting = {name.removeprefix("arg_"): value.item() for name, value in golden.items() if name.startswith("arg_")}
    source_only = setting.get("src_only", False)
    config = Config()
    config.model.backbone = setting["name"]
    config.model.batch_norm = "frozen" if setting.get("freeze", True) else "synchronized"
    config.optimizer.learning_rate = setting.get("base", 2.5e-4)
    config.optimizer.weight_decay = setting.get("wd", 5e-4)
    config.schedule.horizon = setting.get("maxit", 62_500)
    config.method = (
        method_settings("source_only") if source_only else method_settings("fada", segmentation_temperature=1.8)
    )
    segmenter = build_segmenter(config.model.backbone, setting["K"], config.model.batch_norm)
    segmenter.__class__ = AlreadyNormalized
    method = registry.load("fada_tf.methods", config.method.name).build(config, segmenter)
    for module, model in models(method).items():
        recipe.assign(module, model, setting["seed"])
    return method


def trained_names(method: Method) -> dict[str, list[str]]:
    """Returns the reference's names of the trained variables, in their order, by our parameter group."""
    found = {}
    for module, model in models(method).items():
        names = [name for name in reference_names.to_reference(module, model) if not name.endswith("tracked")]
        variables = [variable for layer in model.layers for variable in layer.variables]
        own = {variable.path: name for variable, name in zip(variables, names, strict=True)}
        group = MODULES[module]
        found[group] = [f"{module}.{own[variable.path]}" for variable in method.groups[group].variables]
    return found


def models(method: Method) -> dict[str, keras.Model]:
    """Returns our models by the reference's module names."""
    found = {"feature_extractor": method.segmenter.feature_extractor, "classifier": method.segmenter.classifier}
    return found | ({"model_D": method.networks["discriminator"]} if "discriminator" in method.networks else {})
