r"""GTA5 to Cityscapes with VGG-16, 19 classes.

Expected mIoU on Cityscapes val, % (paper): source 28.3, self-distillation 43.8.
Hardware of the paper: 4 GPUs of 16 GB; on fewer, raise config.training.accumulation_steps.

    python scripts/train.py --config=configs/gta5_vgg16.py:source --run_dir=runs/gta5_vgg16/source
    python scripts/train.py --config=configs/gta5_vgg16.py:adversarial --run_dir=runs/gta5_vgg16/adversarial
    python scripts/make_pseudo_labels.py --checkpoint=runs/gta5_vgg16/adversarial \
        --output=data/records/cityscapes_train_pseudo_gta5_vgg16
    python scripts/train.py --config=configs/gta5_vgg16.py:self_distillation --run_dir=runs/gta5_vgg16/self_distillation
"""

from fada_tf import paper
from fada_tf.config import Config

STAGES = paper.STAGES


def get_config(stage: str = "source") -> Config:
    config = paper.stage_config(
        "gta5_vgg16",
        stage,
        backbone="vgg16",
        imagenet="imagenet",
        source_records="data/records/gta5",
        source_size=(720, 1280),
    )
    return config
