r"""GTA5 to Cityscapes with ResNet-101 by MIC at half resolution, 19 classes.

Expected mIoU on Cityscapes val, % (MIC): 64.2 with HRDA's two resolutions, which this is
without; DAFormer's recipe without masks reaches 56.0.

    python scripts/train.py --config=configs/gta5_r101_mic.py --run_dir=runs/gta5_r101_mic/self_training
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.DIRECT_STAGES


def get_config(stage: str = "self_training") -> Config:
    return peers.mic_config(
        "gta5_r101_mic",
        imagenet="weights/resnet101_imagenet.npz",
        source_records="data/records/gta5",
        source_size=(720, 1280),
    )
