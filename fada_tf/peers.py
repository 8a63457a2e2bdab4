"""Self-training to Cityscapes, and from it, as its authors do it: the constants of DACS, DAFormer, MIC, VFM-UDA.

Experiment files add data and network. Where FADA's discriminator stands beside MIC, or FADA comes before it, nobody
has published numbers.
"""

import math
import os

from fada_tf import paper
from fada_tf.config import Config, DomainConfig, method_settings
from fada_tf.stages import Stage, find_stage

DIRECT_STAGES = (Stage("self_training", title="self-training"),)
SOURCE_STAGES = (Stage("source", title="source only"),)
# After FADA's two stages, as ProDA's authors find an adversarial warm-up to help: https://arxiv.org/abs/2101.10979
STAGES_AFTER_FADA = (
    Stage("source", title="source only"),
    Stage("adversarial", start="source", title="FADA"),
    Stage("self_training", start="adversarial", title="FADA, then self-training"),
)
_CROP = 512  # pixels, of both domains
# VFM-UDA brings crops of 1024 pixels to 80 patches of DINOv2 a side inside of its network; here, images are before.
_VFM_CROP = 80 * 14
_VFM_CITYSCAPES = (_VFM_CROP, 2 * _VFM_CROP)
# What the authors put around a backbone: FADA's own head and batch norm, or others.
_MODELS = {
    "resnet101": {},
    # https://github.com/lhoyer/DAFormer/blob/e6f6e04/configs/_base_/models/daformer_sepaspp_mitb5.py#L6-L37
    "mit_b5": {"head": "daformer", "batch_norm": "synchronized"},
}


def dacs_config(name: str, *, imagenet: str, source_records: str, source_size: tuple[int, int]) -> Config:
    """Returns the experiment of DACS with ResNet-101.

    Source: https://github.com/vikolss/DACS/blob/e6cb522/configs/configUDA.json#L6-L30

    Args:
      name: of the experiment.
      imagenet: initial weights; the authors start from COCO's, which cannot be had here.
      source_records: folder of the source's shards.
      source_size: height and width, in pixels, that source images are brought to before they are cropped.
    """
    config = _self_training(name, source_records, source_size)
    config.model.initial_weights = imagenet
    config.method = method_settings("dacs", teacher_decay=0.99)
    config.data.source.flip = config.data.target.flip = False
    config.optimizer.learning_rate = 2.5e-4
    config.schedule.horizon = config.training.iterations = 250_000
    return config


def source_config(
    name: str, *, backbone: str, imagenet: str, source_records: str, source_size: tuple[int, int]
) -> Config:
    """Returns what DAFormer's authors compare with: their network and recipe on the source alone.

    Args:
      name: see `dacs_config`, as for the others.
      backbone: see `mic_config`.
      imagenet: initial weights.
      source_records: see `dacs_config`.
      source_size: see `dacs_config`.
    """
    config = Config(name=f"{name} source")
    _images(config, source_records, source_size)
    _daformer_recipe(config, backbone, imagenet)
    config.method = method_settings("source_only")
    return config


def mic_config(
    name: str, *, imagenet: str, source_records: str, source_size: tuple[int, int], backbone: str = "resnet101"
) -> Config:
    """Returns MIC at half resolution, on DAFormer's recipe.

    Sources: https://arxiv.org/abs/2212.01322, section 4.1;
    https://github.com/lhoyer/MIC/blob/2f932a9/seg/experiments.py#L443-L451;
    https://github.com/lhoyer/DAFormer/blob/e6f6e04, lines 24 and 36 of the file that `_daformer_recipe` names.

    Args:
      name: see `dacs_config`, as for the others.
      imagenet: initial weights, and those that features of things are kept near to.
      source_records: see `dacs_config`.
      source_size: see `dacs_config`.
      backbone: one of `_MODELS`.
    """
    config = _self_training(name, source_records, source_size)
    _daformer_recipe(config, backbone, imagenet)
    config.method = method_settings(
        "mic", teacher_decay=0.999, mask_block=32, feature_distance_weight=0.005, imagenet_weights=imagenet
    )
    return config


def fada_mic_config(
    name: str,
    stage: str,
    *,
    imagenet: str,
    source_records: str,
    source_size: tuple[int, int],
    backbone: str = "resnet101",
) -> Config:
    """Returns a stage of FADA, and then MIC with FADA's discriminator beside it.

    FADA's authors trained convolutional networks by SGD. Another backbone learns in FADA's stages as MIC's authors
    have it, at this rate, in crops; FADA's weights of losses and its discriminator's optimizer stay.

    Args:
      name: of the experiment; its run directories are runs/NAME/STAGE.
      stage: name of one of `STAGES_AFTER_FADA`.
      imagenet: initial weights of the first stage; see `mic_config`.
      source_records: see `dacs_config`.
      source_size: see `dacs_config`.
      backbone: see `mic_config`.

    Raises:
      InputError: no such stage.
    """
    find_stage(STAGES_AFTER_FADA, stage, name)
    data = {"source_records": source_records, "source_size": source_size}
    if stage != "self_training" and backbone == "resnet101":
        return paper.stage_config(name, stage, backbone=backbone, imagenet=imagenet, **data)
    if stage == "source":
        return source_config(name, backbone=backbone, imagenet=imagenet, **data)
    if stage == "adversarial":
        config = _self_training(name, source_records, source_size)
        config.name = f"{name} adversarial"
        _daformer_recipe(config, backbone, os.path.join("runs", name, "source"))
        config.method = method_settings("fada", segmentation_temperature=1.8)
        return config
    config = mic_config(name, imagenet=imagenet, backbone=backbone, **data)
    config.model.initial_weights = os.path.join("runs", name, "adversarial")
    config.method.adversarial = True
    config.method.segmentation_temperature = 1.8
    return config


def adverse_mic_config(name: str, *, target: str, evaluation: str) -> Config:
    """Returns MIC at half resolution with ResNet-101 from Cityscapes to bad weather or night.

    Source: https://github.com/lhoyer/DAFormer/blob/e6f6e04, configs/_base_/datasets/uda_cityscapes_to_acdc_512x512.py;
    MIC masks source and target in turn, as its authors do there.

    Args:
      name: of the experiment.
      target: folder of the target's shards, of images of 1080 x 1920 pixels.
      evaluation: folder of the shards that it is scored on.
    """
    imagenet = "weights/resnet101_imagenet.npz"
    config = mic_config(name, imagenet=imagenet, source_records=paper.CITYSCAPES_TRAIN, source_size=(512, 1024))
    data = config.data
    data.target.records, data.evaluation.records = target, evaluation
    data.target.full_height, data.target.full_width = data.evaluation.height, data.evaluation.width = 540, 960
    data.target.margin_top = data.target.margin_bottom = 0
    config.method.mode = "separate"
    return config


def dinov2_source_config(name: str, *, pretrained: str, source_records: str, source_size: tuple[int, int]) -> Config:
    """Returns supervised training on the source of DINOv2's ViT-B with VFM-UDA's head.

    Sources: https://arxiv.org/abs/2406.09896;
    https://github.com/tue-mps/vfm-uda/blob/e154d8f/training/uda_vit/supervised_vit_generic.py#L32-L42, and the lines of
    .../uda_vit_generic.py and .../datasets/transform/train/uda_transform.py beside it. The authors' warm-up ends at
    the full rate, and goes on with that of the linear fall, which is 4% lower; here it is of the latter.

    Args:
      name: of the experiment.
      pretrained: initial weights of the backbone.
      source_records: folder of the source's shards.
      source_size: height and width, in pixels, that source images are brought to before they are scaled and cropped.
    """
    config = Config(name=f"{name} source")
    config.model.backbone, config.model.head = "dinov2_base", "vfm_uda"
    config.model.initial_weights = pretrained
    _vfm_images(config.data.source, source_records, source_size)
    config.data.source.sampling, config.data.source.color_jitter = "rare_class", True
    config.data.evaluation.records = paper.CITYSCAPES_VAL
    config.data.evaluation.height, config.data.evaluation.width = _VFM_CITYSCAPES
    config.data.evaluation.window = f"{_VFM_CROP}x{_VFM_CROP}"
    config.data.evaluation.stride = f"{_VFM_CROP // 2}x{_VFM_CROP // 2}"
    optimizer, schedule, training = config.optimizer, config.schedule, config.training
    training.batch_size, training.iterations = 8, 40_000
    schedule.name, schedule.horizon = "linear", 40_000
    schedule.warmup_iterations, schedule.warmup_start = 1500, 1e-3
    optimizer.name, optimizer.weight_decay = "adamw", 0.01
    _vfm_rates(config, of_backbone=0.01)
    return config


def dinov2_mic_config(name: str, *, pretrained: str, source_records: str, source_size: tuple[int, int]) -> Config:
    """Returns MIC with DINOv2's ViT-B and VFM-UDA's head, on VFM-UDA's recipe; see `dinov2_source_config`.

    VFM-UDA++ lets rates decay by 0.9 a block, `config.optimizer.layer_decay`; its first version, whose numbers these
    are, does not.
    """
    config = dinov2_source_config(name, pretrained=pretrained, source_records=source_records, source_size=source_size)
    config.name = f"{name} self_training"
    # Blocks of 5 patches: 16 a side, as MIC has at its own size.
    config.method = method_settings("mic", teacher_decay=0.999, mask_block=70)
    target = config.data.target
    _vfm_images(target, paper.CITYSCAPES_TRAIN, _VFM_CITYSCAPES)
    # 3% at the top and the sides, a quarter at the bottom, of 1024 x 2048 pixels: wider than what Cityscapes' records
    # tell, so that these do not decide. Another target wants `records_decide`, or margins of its own.
    target.margin_top, target.margin_bottom = 30, 256
    target.margin_left = target.margin_right = 61
    _vfm_rates(config, of_backbone=0.1)
    return config


def _vfm_images(domain: DomainConfig, records: str, size: tuple[int, int]) -> None:
    domain.records, domain.crop, domain.flip = records, True, True
    domain.height = domain.width = _VFM_CROP
    domain.full_height, domain.full_width = size
    domain.scale_min, domain.scale_max = 0.9, 1.1


def _vfm_rates(config: Config, *, of_backbone: float) -> None:
    of_head = 5e-5 * math.sqrt(config.training.batch_size)
    config.optimizer.learning_rate = of_backbone * of_head
    config.optimizer.head_multiplier = 1 / of_backbone


def _self_training(name: str, source_records: str, source_size: tuple[int, int]) -> Config:
    config = Config(name=f"{name} self_training")
    _images(config, source_records, source_size)
    target = config.data.target
    target.records = paper.CITYSCAPES_TRAIN
    _cropped(target, (512, 1024))
    # Cityscapes' (see fada_tf/facts.py), unless the records tell their own.
    target.margin_top, target.margin_bottom = 30, 240
    target.records_decide = True
    return config


def _images(config: Config, source_records: str, source_size: tuple[int, int]) -> None:
    config.model.backbone = "resnet101"
    config.data.evaluation.records = paper.CITYSCAPES_VAL
    config.data.evaluation.height, config.data.evaluation.width = 512, 1024
    config.data.source.records = source_records
    _cropped(config.data.source, source_size)
    config.training.batch_size = 2


def _cropped(domain: DomainConfig, size: tuple[int, int]) -> None:
    domain.crop, domain.flip = True, True
    domain.height = domain.width = _CROP
    domain.full_height, domain.full_width = size


def _daformer_recipe(config: Config, backbone: str, initial_weights: str) -> None:
    """Sets network, optimizer, schedule and sampling of source images.

    Sources: https://github.com/lhoyer/DAFormer/blob/e6f6e04, configs/_base_/schedules/adamw.py#L5,
    .../poly10warm.py#L7-L14, and lines 39 to 47 of
    configs/daformer/gta2cs_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0.py.
    """
    config.model.backbone, config.model.initial_weights = backbone, initial_weights
    for field, value in _MODELS[backbone].items():
        setattr(config.model, field, value)
    config.data.source.sampling, config.data.source.rare_class_crop_ratio = "rare_class", 0.5
    optimizer, schedule = config.optimizer, config.schedule
    optimizer.name, optimizer.learning_rate = "adamw", 6e-5
    optimizer.weight_decay, optimizer.decay_all = 0.01, False
    schedule.name, schedule.horizon = "linear", 40_000
    schedule.warmup_iterations, schedule.warmup_start = 1500, 1e-6
    config.training.iterations = 40_000
