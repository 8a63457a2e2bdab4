"""The one schema of an experiment: every setting with its default, unit, limits and source.

Experiment files in `configs/` return a `Config`; the command line overrides single fields
(`--config.optimizer.learning_rate=1e-3`). A method's settings stand in its own file. "code" names a place in
the authors' implementation, https://github.com/JDAI-CV/FADA/blob/a1c6403, where the paper is silent or differs.
"""

import dataclasses
from typing import Any, ClassVar

from fada_tf import registry
from fada_tf.errors import InputError, nearest
from fada_tf.facts import Facts
from fada_tf.schema import option, section
from fada_tf.windows import AVERAGES

_CROP = ("crop", (True,))
_RARE_CLASS = ("sampling", ("rare_class",))
_ADAM = ("name", ("adam", "adamw"))
NETWORKS = {"student": "segmenter", "teacher": "teacher"}  # those of a method that can be scored, as users call them


@dataclasses.dataclass
class DomainConfig:
    """One domain's training images. Order of the transforms: jitter, then resize (or scale, crop), then flip."""

    records: str = option("", "folder of TFRecord shards with a manifest.json, or several with commas between them")
    weights: str = option(
        "", "of several folders of records, how often each is drawn from, such as '2,1,1'; empty: by their sizes"
    )
    height: int = option(0, "pixels; height of a training image", minimum=0)
    width: int = option(0, "pixels; width of a training image", minimum=0)
    color_jitter: bool = option(
        False, "random brightness, contrast, saturation and hue (code: core/datasets/build.py#L22-L30)"
    )
    scale_min: float = option(1.0, "smallest random scale of the full image before the crop", above=0, needs=_CROP)
    scale_max: float = option(1.0, "largest random scale of the full image before the crop", above=0, needs=_CROP)
    full_height: int = option(
        0, "pixels; height of the image that is scaled and cropped; 0: `height`", minimum=0, needs=_CROP
    )
    full_width: int = option(
        0, "pixels; width of the image that is scaled and cropped; 0: `width`", minimum=0, needs=_CROP
    )
    crop: bool = option(False, "random crop of height x width out of the scaled image, instead of resizing")
    flip: bool = option(False, "mirror half of the images")
    margin_top: int = option(
        0, "pixels at the top of a stored image whose label, read or made by the method, teaches nothing", minimum=0
    )
    margin_bottom: int = option(0, "as margin_top; on Cityscapes the car's bonnet", minimum=0)
    margin_left: int = option(0, "as margin_top", minimum=0)
    margin_right: int = option(0, "as margin_top", minimum=0)
    records_decide: bool = option(
        False, "margins, and of target records what method mic masks, are what the records' manifest tells of the data "
        "set, whatever is set here; an older manifest tells nothing"
    )  # fmt: skip
    sampling: str = option(
        "shuffled", "order of the draws", choices=("shuffled", "class_balanced", "rare_class", "sequential")
    )
    sub_epoch: int = option(
        3000,
        "draws after which class-balanced sampling starts anew (code: core/datasets/gta5.py#L37)",
        minimum=1,
        needs=("sampling", ("class_balanced",)),
    )
    rare_class_temperature: float = option(
        0.01, "smaller prefers rare classes more (DAFormer, section 3.4)", above=0, needs=_RARE_CLASS
    )
    rare_class_min_pixels: int = option(
        3000, "an image counts for a class if it has more pixels of it, as stored", minimum=0, needs=_RARE_CLASS
    )
    rare_class_crop_ratio: float = option(
        0.0,
        "a crop must show more than this times rare_class_min_pixels of the class, or is the tenth tried; 0: any crop "
        "(DAFormer: 0.5 for 512x512, MIC: 2 for 1024x1024)",
        minimum=0,
        needs=_RARE_CLASS,
    )
    max_bad_records: int = option(0, "damaged records that may be skipped before the run stops", minimum=0)


@dataclasses.dataclass
class EvaluationConfig:
    """The labelled images that a run is scored on; logits are upsampled to each label's own size."""

    records: str = option("", "folder of TFRecord shards with a manifest.json; empty: no evaluation")
    height: int = option(0, "pixels; images are resized to this height; 0, with a window: not at all", minimum=0)
    width: int = option(0, "pixels; images are resized to this width; 0, with a window: not at all", minimum=0)
    window: str = option(
        "", "HEIGHTxWIDTH, pixels: sliding windows that images are seen by; empty: they are seen whole"
    )
    stride: str = option("", "HEIGHTxWIDTH, pixels, from window to window; empty: two thirds of the window")
    average: str = option(AVERAGES[0], "what is averaged where windows overlap, at full size", choices=AVERAGES)
    batch_size: int = option(0, "images a step, over all replicas; 0: one a replica", minimum=0)


@dataclasses.dataclass
class DataConfig:
    """Which classes, which domains."""

    label_space: str = option("cityscapes19", "name of a built-in label space, or path of a class file")
    source: DomainConfig = section(DomainConfig)
    target: DomainConfig = section(DomainConfig)
    fourier_beta: float = option(
        0.0,
        "source images, after all transforms, take the amplitudes of target images at frequencies up to this times the "
        "shorter side; 0: none (FDA, https://arxiv.org/abs/2004.05498: 0.01 to 0.09)",
        minimum=0,
        below=0.5,
    )
    evaluation: EvaluationConfig = section(EvaluationConfig)


@dataclasses.dataclass
class ModelConfig:
    """The segmenter; by default DeepLab-v2 (paper section 4.2)."""

    backbone: str = option(
        "resnet101", "feature extractor F: a module of fada_tf/models/backbones, or one of its depths"
    )
    head: str = option("aspp", "classifier C: one of fada_tf/models/heads")
    feature_stride: int = option(
        0,
        "stride, in pixels, of the feature map that discriminators and analyses of features see; 0: the deepest that "
        "the head takes",
        minimum=0,
    )
    batch_norm: str = option(
        "frozen",
        "stored statistics without epsilon (code: core/models/layers.py#L18-L23), or the batch's on all replicas",
        choices=("frozen", "synchronized"),
    )  # fmt: skip
    recompute: bool = option(
        False,
        "keep only the outputs of some blocks in training, and compute the rest twice: less memory, more time",
        needs=("trainable", ("all", "lora")),
    )
    trainable: str = option(
        "all",
        "all; the head alone, on a backbone that stays as it is; or the head and, for the kernels of the backbone's "
        "attention, products of small matrices that are added to them (LoRA, https://arxiv.org/abs/2106.09685)",
        choices=("all", "head", "lora"),
    )
    lora_rank: int = option(16, "of those matrices", minimum=1, needs=("trainable", ("lora",)))
    initial_weights: str = option(
        "",
        "empty: random; 'imagenet'; a file: .npz, or, as others publish backbones, .pth or .safetensors; "
        "efficientnet_lite0, which comes with the library; or a run directory or checkpoint of this library",
    )


@dataclasses.dataclass
class MethodSettings:
    """What a method leaves to its users; every file of fada_tf/methods declares its own in a class `Settings`.

    Attributes:
      inference: what is scored, exported and trained on by other stages: the "student", which is trained, its
        "teacher", or the "better": both are scored, and the one with the higher mean IoU counts. A method with a
        network "teacher" makes this an option.
      relative_cost: of a step, roughly, in steps of source only on as many images of a domain; for the time that is
        left before a step was measured.
    """

    inference: ClassVar[str] = "student"
    relative_cost: ClassVar[float] = 1.0

    @property
    def scored(self) -> dict[str, str]:
        """The names of the method's networks that are scored in training, by what users call them."""
        return {name: network for name, network in NETWORKS.items() if self.inference in (name, "better")}

    @property
    def name(self) -> str:
        """The method's, which is its file's."""
        return type(self).__module__.rpartition(".")[2]

    @name.setter
    def name(self, name: str) -> None:
        raise AttributeError(
            f"a method brings its own settings: write config.method = method_settings({name!r}), a function of "
            "fada_tf.config, instead of config.method.name"
        )

    def follow(self, target: Facts) -> None:
        """Sets what is better decided by the target's data set than by an experiment; nothing unless a method says."""

    def check(self, config: "Config") -> None:
        """Checks the combinations of all settings that the method cannot work with.

        Raises:
          InputError: names the fields, their values and what they should be.
        """


def method_settings(name: str, **settings: Any) -> MethodSettings:
    """Returns the settings of a method, whose file is imported for that.

    Args:
      name: of the method, a module of fada_tf/methods.
      **settings: values of its fields that are not the defaults.

    Raises:
      InputError: there is no such method, or it has no such setting.
    """
    if name not in (methods := registry.names("fada_tf.methods")):
        raise InputError(f"config.method.name is {name!r}: choose from {', '.join(methods)}")
    own = registry.load("fada_tf.methods", name).Settings()
    fields = [field.name for field in dataclasses.fields(own)]
    for setting, value in settings.items():
        if setting not in fields:
            raise InputError(f"method {name} has no setting {setting} (nearest: {nearest(setting, fields)})")
        setattr(own, setting, value)
    return own


@dataclasses.dataclass
class NetworkOptimizerConfig:
    """How a network's weights follow its gradients; the arithmetic is torch's."""

    name: str = option("sgd", "of the optimizer", choices=("sgd", "adam", "adamw"))
    learning_rate: float = option(2.5e-4, "before the schedule", above=0)
    momentum: float = option(0.9, "of SGD", minimum=0, needs=("name", ("sgd",)))
    beta_1: float = option(0.9, "of Adam: decay of the mean of gradients", minimum=0, needs=_ADAM)
    beta_2: float = option(0.999, "of Adam: decay of the mean of squared gradients", minimum=0, needs=_ADAM)
    epsilon: float = option(1e-8, "of Adam: added after the bias correction", above=0, needs=_ADAM)
    weight_decay: float = option(
        5e-4,
        "L2, coupled with the gradient but for adamw (code: core/configs/defaults.py#L54; the paper says 1e-4)",
        minimum=0,
    )
    decay_all: bool = option(
        True, "normalizations and position embeddings decay too, as biases do (code: train_adv.py#L79-L82)"
    )
    clip_norm: float = option(0.0, "L2 norm above which all gradients are scaled down to it; 0: none", minimum=0)


@dataclasses.dataclass
class OptimizerConfig(NetworkOptimizerConfig):
    """The segmenter's."""

    head_multiplier: float = option(10.0, "the head's learning rate is this many times higher", above=0)
    layer_decay: float = option(
        1.0, "factor of the learning rate from a block of the backbone to the one before it; 1: none", above=0
    )


@dataclasses.dataclass
class ScheduleConfig:
    """What becomes of all networks' learning rates in the course of a training."""

    name: str = option("poly", "shape after the warm-up", choices=("poly", "linear", "constant"))
    horizon: int = option(
        62_500,
        "iterations at which the learning rates would reach 0 (code: configs/deeplabv2_r101_adv.yaml#L20)",
        minimum=1,
        needs=("name", ("poly", "linear")),
    )
    power: float = option(0.9, "of poly", minimum=0, needs=("name", ("poly",)))
    warmup_iterations: int = option(0, "iterations in which the learning rates rise in equal steps; 0: none", minimum=0)
    warmup_start: float = option(0.0, "fraction of the learning rates at iteration 0 of the warm-up", minimum=0)


@dataclasses.dataclass
class TrainingConfig:
    """The loop."""

    iterations: int = option(40_000, "of the loop; updates that float16 skips count", minimum=1)
    batch_size: int = option(4, "images a domain and iteration, over all replicas and accumulation steps", minimum=1)
    accumulation_steps: int = option(
        1,
        "equal parts of an iteration's batch, each run by itself: losses are means of the parts' means, and "
        "synchronized batch norm sees one part at a time",
        minimum=1,
    )
    precision: str = option(
        "float32", "compute type; losses stay in float32, and float16 has loss scaling",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )  # fmt: skip
    xla: bool = option(False, "compile forward and backward passes with XLA: for GPUs; slow to start, slower on CPUs")
    convolutions: str = option(
        "automatic", "their form: the faster one where TensorFlow sees no GPU; that for CPUs; or TensorFlow's own",
        choices=("automatic", "cpu", "plain"),
    )  # fmt: skip
    channels_order: str = option(
        "automatic", "on GPUs: what TensorFlow finds faster for the compute type, or NHWC throughout",
        choices=("automatic", "last"),
    )  # fmt: skip
    memory_growth: bool = option(True, "take a GPU's memory as it is needed, and not all of it at the start")
    prefetch_to_device: bool = option(True, "copy the next batch to a GPU during a step")
    all_reduce_packs: int = option(
        0, "one machine's: messages that its GPUs send each other's gradients in; 0: TensorFlow's choice", minimum=0
    )
    deterministic: bool = option(False, "the same bits on GPUs too, slower; on a CPU they are the same without")
    steps_per_loop: int = option(
        20, "iterations inside one call of the compiled loop, and between log lines", minimum=1
    )
    checkpoint_interval: int = option(1000, "iterations between checkpoints", minimum=1)
    evaluation_interval: int = option(2000, "iterations between evaluations; 0: only at the end", minimum=0)
    picture_interval: int = option(1000, "iterations between pictures in TensorBoard; 0: none", minimum=0)
    keep_checkpoints: int = option(3, "newest checkpoints kept, beside the best one", minimum=1)


@dataclasses.dataclass
class Config:
    """One training run: one stage of an experiment."""

    name: str = option("", "experiment and stage, for logs and reports")
    seed: int = option(0, "of initial weights, sampling, augmentation and a method's own random numbers", minimum=0)
    data: DataConfig = section(DataConfig)
    model: ModelConfig = section(ModelConfig)
    method: MethodSettings = section(lambda: method_settings("source_only"))
    optimizer: OptimizerConfig = section(OptimizerConfig)
    schedule: ScheduleConfig = section(ScheduleConfig)
    training: TrainingConfig = section(TrainingConfig)
