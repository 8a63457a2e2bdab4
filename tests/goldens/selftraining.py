"""The self-training steps of the golden files, done by our methods, and how far apart two programs may be."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import tensorflow as tf

from fada_tf import registry
from fada_tf.config import Config, method_settings
from fada_tf.data.labels import IGNORE
from fada_tf.methods.base import Batch, Method
from fada_tf.models.segmenter import build_segmenter
from tests.goldens import recipe
from tests.goldens.steps import AlreadyNormalized, models, trained_names

STEPS = (
    "steps_selftraining_vgg16_k19",
    "steps_selftraining_vgg16_k19_image",
    "steps_selftraining_resnet50_k19_mix",
    "steps_selftraining_resnet50_k16_adversarial",
    "steps_selftraining_resnet50_k16_adversarial_image",
)
# Our losses are unweighted; the files hold these multiples of them.
SERIES = {
    "segmentation": ("loss_source", 1.0),
    "mix": ("loss_mix", 1.0),
    "masked": ("loss_masked", 1.0),
    "adversarial": ("loss_adv", 0.001),
    "discriminator_source": ("loss_d_source", 0.5),
    "discriminator_target": ("loss_d_target", 0.5),
}
# What the student learns from, each in a pass of its own.
PARTS = {"segmentation": "source", "adversarial": "adversarial", "mix": "mix", "masked": "masked"}
# The start of the files' names, and our networks.
NETWORKS = {"student": "segmenter", "teacher": "teacher", "d": "discriminator"}

# What losses of the first step may differ by, and later ones, as a share.
LOSSES = (1e-4, 1e-3)
# Of the rest, how far float32 is from float64 in the file says what rounding does. Another program, which rounds every
# layer in its own way, may be this many times as far away,
MULTIPLE = 5
# and farther by these shares: the median, the 95 % quantile and the largest. One input of a ReLU that crosses zero
# moves the gradient of its layer, and so the updates; of those, some are 1e-5 of a weight: float32 has two digits left.
ROUNDING = {"gradients": (1e-4, 1e-3, 5e-3), "updates": (1e-4, 1e-3, 2e-3), "parts": (2e-4, 2e-4, 2e-4)}


class SelfTraining:
    """The steps of one golden file.

    Attributes:
      name: of the file.
      golden: the arrays of the file.
      method: that takes the steps.
    """

    def __init__(self, name: str):
        """Makes the method, with the weights, that `name`.npz was made with."""
        self.name, self.golden = name, recipe.load(name)
        self.method = self._build()
        names = trained_names(self.method)
        self._names = {"segmenter": names["feature_extractor"] + names["classifier"]}
        self._names |= {"discriminator": names["discriminator"]} if "discriminator" in names else {}
        owners = [*self.method.networks.values(), *self.method.optimizers.values()]
        self._start = [(variable, np.array(variable.numpy())) for owner in owners for variable in owner.variables]

    def take(self, steps: int | None = None, *, traced: bool = False) -> dict[str, np.ndarray]:
        """Takes all steps from the start, or the first of them; returns what the file has of them, by its names.

        What is known only after the last step is left out where not all are taken. Tracing takes longer than the steps
        do, operation by operation.
        """
        for variable, value in self._start:
            variable.assign(value)
        watched = tf.function(self._watched_step) if traced else self._watched_step
        first, rows, gradients = self._weights(), [], []
        last = self._setting("steps") - 1
        for step in range(steps or last + 1):
            if step == last:  # the file's teacher is moved only when another step begins
                teacher = self._weights()["teacher"]
            rate = float(self.method.optimizers["segmenter"].learning_rates()["feature_extractor"])
            series, of_step = watched(*self._batches(step))
            rows.append(series | {"lr": rate})
            gradients.append(of_step)
        found = {name: np.stack([np.asarray(row[name], np.float64) for row in rows]) for name in rows[0]}
        found |= self._gradient_norms(gradients[0])
        return found if steps else found | self._updates(first, self._weights() | {"teacher": teacher})

    def sizes(self, key: str) -> np.ndarray:
        """Returns the numbers of elements of the weights that an array of this name is about."""
        prefix = key.partition("_")[0]
        weights = self._weights()[prefix]
        return np.array([weights[name].size for name in self._order(prefix)])

    def _watched_step(self, source: Batch, target: Batch) -> tuple[dict[str, tf.Tensor], dict[str, dict]]:
        """Takes a step; returns what the file has of each, and gradients by name, by part and of "d"."""
        method, passes, seen = self.method, [], {}
        pairs = zip(*(method.networks[name].variables for name in ("segmenter", "teacher")), strict=True)
        distance = tf.linalg.global_norm([student - teacher for student, teacher in pairs])
        next_pass, maps = method._next_pass, method.segmenter.maps

        def watched_pass(generator):
            found = next_pass(generator)
            passes.extend([] if found is None else [found])
            return found

        def watched_maps(images, *args, mask=None, **options):
            if mask is not None:
                seen["masked"] = images * mask
            return maps(images, *args, mask=mask, **options)

        def watched(name):
            function = getattr(method, name)
            return lambda *args: seen.setdefault(name, function(*args))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(method, "_next_pass", watched_pass)
            patch.setattr(method.segmenter, "maps", watched_maps)
            for name in ("pseudo_labels", "mixed"):
                patch.setattr(method, name, watched(name))
            measures = method.step(source, target)
        gradients = {
            PARTS[loss]: self._by_name("segmenter", [of_pass])
            for measured, of_pass in passes
            for loss in PARTS.keys() & measured.keys()
        }
        norms = {part: tf.linalg.global_norm(list(values.values())) for part, values in gradients.items()}
        series = {name: factor * measures[loss] for loss, (name, factor) in SERIES.items() if loss in measures}
        series["teacher_distance"] = distance
        series["grad_part_norms"] = tf.stack([norms[name] for name in self.golden["grad_part_names"]])
        if "discriminator" in method.networks:
            gradients["d"] = self._by_name("discriminator", [of for _, of in passes])
        return series | self._contents(**seen), gradients

    def _by_name(self, network: str, passes: Sequence[Mapping[str, list]]) -> dict[str, tf.Tensor]:
        """Returns the sums over passes of a network's gradients, by the file's names of weights."""
        variables = [variable for group in self.method.optimizers[network].groups for variable in group.variables]
        return {
            name: tf.add_n([tf.zeros(variable.shape), *(value for value in values if value is not None)])
            for name, variable, *values in zip(
                self._names[network], variables, *(of_pass[network] for of_pass in passes), strict=True
            )
        }

    def _contents(self, pseudo_labels: Batch, mixed: Batch, masked: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """Returns what the file has of labels, weights and images."""
        classes = range(self._setting("K"))
        found = {
            "pseudo_weight": pseudo_labels["share"] if self._setting("per_image") else pseudo_labels["share"][0],
            "pseudo_label_counts": _histogram(pseudo_labels["label"], classes),
            "mixed_label_counts": _histogram(mixed["label"], [*classes, IGNORE]),
            "mixed_weight_mean": tf.reduce_mean(mixed["weight"], axis=[1, 2]),
            "mixed_image_norm": _norms(mixed["image"]),
        }
        return found if masked is None else found | {"masked_image_norm": _norms(masked)}

    def _gradient_norms(self, gradients: dict[str, dict]) -> dict[str, np.ndarray]:
        """Returns L2 norms of the gradients of a step, in the file's order."""
        parts = {part: values for part, values in gradients.items() if part != "d"}
        sums = {name: sum(values[name] for values in parts.values()) for name in self.golden["grad_names"]}
        found = {
            f"grad_norms_{part}": np.array([np.linalg.norm(values[name]) for name in self.golden["grad_names"]])
            for part, values in parts.items()
        }
        if "d" in gradients:
            norms = [np.linalg.norm(gradients["d"][name]) for name in self.golden["d_grad_names"]]
            found["d_grad_norms"] = np.array(norms)
        return found | {"grad_norms": np.array([np.linalg.norm(value) for value in sums.values()])}

    def _updates(self, first: dict[str, dict], last: dict[str, dict]) -> dict[str, np.ndarray]:
        found = {}
        for prefix in last:
            updates = [
                np.subtract(last[prefix][name], first[prefix][name], dtype=np.float64) for name in self._order(prefix)
            ]
            found[f"{prefix}_update_norms"] = np.array([np.linalg.norm(update) for update in updates])
            found[f"{prefix}_update_sums"] = np.array([update.sum() for update in updates])
        return found

    def _weights(self) -> dict[str, dict[str, np.ndarray]]:
        """Returns what is trained, and the teacher's counterpart, by the starts and the names of the file."""
        student = {variable.path: place for place, variable in enumerate(self.method.segmenter.variables)}
        found = {}
        for prefix, network in NETWORKS.items():
            if network not in self.method.networks:
                continue
            trained = network if network in self.method.optimizers else "segmenter"
            variables = [variable for group in self.method.optimizers[trained].groups for variable in group.variables]
            if network != trained:
                variables = [self.method.networks[network].variables[student[variable.path]] for variable in variables]
            values = (np.array(variable.numpy()) for variable in variables)
            found[prefix] = dict(zip(self._names[trained], values, strict=True))
        return found

    def _order(self, prefix: str) -> np.ndarray:
        return self.golden["d_param_names" if prefix == "d" else "param_names"]

    def _setting(self, name: str):
        return self.golden[f"arg_{name}"].item()

    def _build(self) -> Method:
        config = Config()
        settings = config.method = method_settings("mic" if self._setting("mask") else "dacs")
        config.model.backbone, config.model.batch_norm = self._setting("name"), "frozen"
        config.optimizer.learning_rate = self._setting("base")
        config.optimizer.weight_decay = self._setting("wd")
        config.schedule.horizon = self._setting("maxit")
        settings.segmentation_temperature = self._setting("segmentation_temperature")
        settings.teacher_decay = self._setting("alpha")
        settings.confidence_threshold = self._setting("threshold")
        settings.weight_per = "image" if self._setting("per_image") else "batch"
        settings.color_jitter, settings.blur = 0.0, False
        settings.adversarial = self._setting("adversarial")
        if settings.adversarial:
            settings.fada.temperature = self._setting("temperature")
            settings.fada.discriminator.learning_rate = self._setting("base_D")
        segmenter = build_segmenter(config.model.backbone, self._setting("K"), config.model.batch_norm)
        segmenter.__class__ = AlreadyNormalized
        method = registry.load("fada_tf.methods", settings.name).build(config, segmenter)
        for module, model in models(method).items():
            gain = self._setting(f"gain_{module}") if f"arg_gain_{module}" in self.golden else 1.0
            recipe.assign(module, model, self._setting("seed"), gain)
        for average, variable in zip(method.networks["teacher"].variables, segmenter.variables, strict=True):
            average.assign(variable)
        return method

    def _batches(self, step: int) -> tuple[Batch, Batch]:
        """Returns the images and labels of one step, with the classes, cells and margins of the file."""
        seed, count = self._setting("seed") + step, self._setting("bs")
        height, width = self._setting("h"), self._setting("w")
        source, target = (
            {
                "image": tf.constant(
                    recipe.channels_last(recipe.coarse_image(seed + offset, (count, 3, height, width)))
                ),
                "draw": tf.range(count * step, count * (step + 1), dtype=tf.int64),
            }
            for offset in (100, 300)
        )
        labels = recipe.coarse_labels(seed + 200, self._setting("K"), (count, height, width))
        source |= {"label": tf.constant(labels, tf.uint8), "mix_classes": tf.constant(self.golden["mix_classes"][step])}
        if self._setting("mask"):
            target["mask_cells"] = tf.constant(self.golden["mask_cells"][step], tf.float32)
        top, bottom = self._setting("ignore_top"), self._setting("ignore_bottom")
        if top or bottom:
            rows = np.arange(height)
            valid = (rows >= top) & (rows < height - bottom)
            target["valid"] = tf.constant(np.broadcast_to(valid[:, None], (count, height, width)), tf.uint8)
        return source, target


def errors(taken: SelfTraining, ours: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns what is farther from the file than rounding takes it: by name, the errors, and what is allowed."""
    found = {name: _error(taken, name, value) for name, value in ours.items()}
    return {name: (error, allowed) for name, (error, allowed) in found.items() if not np.all(error <= allowed)}


def _error(taken: SelfTraining, name: str, ours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    golden = taken.golden
    expected = golden[name][: len(ours)]
    if name.endswith("_counts"):  # each pixel that moves leaves one class for another
        moved = golden["pixels_within_1e-4_of_a_tie"][: len(ours)]
        return np.abs(ours - expected).sum(axis=(1, 2)), 2 * moved
    if name in ("pseudo_weight", "mixed_weight_mean"):
        pixels = golden["arg_h"] * golden["arg_w"] * (1 if golden["arg_per_image"] else golden["arg_bs"])
        near = golden["pixels_within_1e-4_of_threshold"][: len(ours)]
        return np.abs(ours - expected).reshape(len(ours), -1).max(axis=1), near / pixels + 1e-6
    if name.startswith("loss_"):
        return np.abs(ours / expected - 1), np.array([LOSSES[min(step, 1)] for step in range(len(ours))])
    if name in ("lr", "mixed_image_norm", "masked_image_norm"):
        return np.abs(ours / expected - 1), np.full(ours.shape, 1e-5)
    if name == "teacher_distance":
        return np.abs(ours - expected), 1e-3 * expected
    kind = "parts" if name == "grad_part_norms" else "updates" if "_update_" in name else "gradients"
    exact = golden[f"{name}_float64"][: len(ours)]
    scale = np.abs(exact)
    if name.endswith("_sums"):  # a sum of signed values has no scale of its own
        scale = golden[name.replace("_sums", "_norms")] * np.sqrt(taken.sizes(name))
    error, spread = (_quantiles(one, exact, scale) for one in (ours, expected))
    return error, MULTIPLE * spread + ROUNDING[kind]


def _quantiles(one: np.ndarray, other: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Returns the median, the 95 % quantile and the largest of the distances as shares; what is 0 must be 0."""
    shares = np.abs(one - other) / np.where(scale > 0, scale, 1e-9)
    return np.quantile(shares, [0.5, 0.95, 1])


def _histogram(labels: tf.Tensor, classes) -> tf.Tensor:
    """Returns the pixels of each class of each image, [batch, classes]."""
    counts = [tf.reduce_sum(tf.cast(tf.cast(labels, tf.int64) == k, tf.int64), axis=[1, 2]) for k in classes]
    return tf.stack(counts, axis=1)


def _norms(images: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(images), axis=[1, 2, 3]))
