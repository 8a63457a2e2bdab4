r"""GTA5 to Cityscapes with ResNet-101, 19 classes.

Expected mIoU on Cityscapes val, % (paper): source 36.8, adversarial 46.9, self-distillation 49.2.
Hardware of the paper: 4 GPUs of 16 GB; on fewer, raise config.training.accumulation_steps.

    python scripts/train.py --config=configs/gta5_r101.py:source --run_dir=runs/gta5_r101/source
    python scripts/train.py --config=configs/gta5_r101.py:adversarial --run_dir=runs/gta5_r101/adversarial
    python scripts/make_pseudo_labels.py --checkpoint=runs/gta5_r101/adversarial \
        --output=data/records/cityscapes_train_pseudo_gta5_r101
    python scripts/train.py --config=configs/gta5_r101.py:self_distillation --run_dir=runs/gta5_r101/self_distillation
"""

from fada_tf import paper
from fada_tf.config import Config

STAGES = paper.STAGES


def get_config(stage: str = "source") -> Config:
    config = paper.stage_config(
        "gta5_r101",
        stage,
        backbone="resnet101",
        imagenet="weights/resnet101_imagenet.npz",
        source_records="data/records/gta5",
        source_size=(720, 1280),
    )
    if stage == "self_distillation":
        config.model.batch_norm = "synchronized"
        config.data.target.color_jitter = True
    return config
