r"""GTA5 to Cityscapes with ResNet-101 by DACS, 19 classes.

Expected mIoU on Cityscapes val, % (DACS, from COCO's weights): 52.1.

    python scripts/train.py --config=configs/gta5_r101_dacs.py --run_dir=runs/gta5_r101_dacs/self_training
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.DIRECT_STAGES


def get_config(stage: str = "self_training") -> Config:
    return peers.dacs_config(
        "gta5_r101_dacs",
        imagenet="weights/resnet101_imagenet.npz",
        source_records="data/records/gta5",
        source_size=(720, 1280),
    )
