r"""SYNTHIA to Cityscapes with ResNet-101 by MIC at half resolution, 16 classes.

No published mIoU is known for this network without HRDA's two resolutions.

    python scripts/train.py --config=configs/synthia_r101_mic.py --run_dir=runs/synthia_r101_mic/self_training
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.DIRECT_STAGES


def get_config(stage: str = "self_training") -> Config:
    config = peers.mic_config(
        "synthia_r101_mic",
        imagenet="weights/resnet101_imagenet.npz",
        source_records="data/records/synthia",
        source_size=(760, 1280),
    )
    config.data.label_space = "cityscapes16"
    config.method.thing_classes = "6,7,10,11,12,13,14,15"  # as DAFormer's, without truck and train
    return config
