r"""SYNTHIA to Cityscapes with ResNet-101 by DACS, 16 classes.

Expected mIoU on Cityscapes val, % (DACS, from COCO's weights): 48.3.

    python scripts/train.py --config=configs/synthia_r101_dacs.py --run_dir=runs/synthia_r101_dacs/self_training
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.DIRECT_STAGES


def get_config(stage: str = "self_training") -> Config:
    config = peers.dacs_config(
        "synthia_r101_dacs",
        imagenet="weights/resnet101_imagenet.npz",
        source_records="data/records/synthia",
        source_size=(760, 1280),
    )
    config.data.label_space = "cityscapes16"
    return config
