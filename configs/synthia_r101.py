r"""SYNTHIA to Cityscapes with ResNet-101, 16 classes.

Expected mIoU on Cityscapes val, % (paper): source 33.5, adversarial 41.5, self-distillation 45.2.
Hardware of the paper: 4 GPUs of 16 GB; on fewer, raise config.training.accumulation_steps.

    python scripts/train.py --config=configs/synthia_r101.py:source --run_dir=runs/synthia_r101/source
    python scripts/train.py --config=configs/synthia_r101.py:adversarial --run_dir=runs/synthia_r101/adversarial
    python scripts/make_pseudo_labels.py --checkpoint=runs/synthia_r101/adversarial \
        --output=data/records/cityscapes_train_pseudo_synthia_r101
    python scripts/train.py --config=configs/synthia_r101.py:self_distillation \
        --run_dir=runs/synthia_r101/self_distillation
"""

from fada_tf import paper
from fada_tf.config import Config

STAGES = paper.STAGES


def get_config(stage: str = "source") -> Config:
    config = paper.stage_config(
        "synthia_r101",
        stage,
        backbone="resnet101",
        imagenet="weights/resnet101_imagenet.npz",
        source_records="data/records/synthia",
        source_size=(760, 1280),
    )
    config.data.label_space = "cityscapes16"
    if stage == "self_distillation":
        config.data.target.color_jitter = True
    return config
