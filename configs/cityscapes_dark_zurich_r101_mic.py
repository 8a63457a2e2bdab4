r"""Cityscapes to Dark Zurich with ResNet-101 by MIC at half resolution, 19 classes.

Published mIoU on the test images of Dark Zurich, %, by MIC's authors:
60.2 with MiT-B5 and HRDA's two resolutions (DAFormer: 53.8).
Nobody has published one with ResNet-101 at half resolution.

    python scripts/make_tfrecords.py --dataset=dark_zurich --root=DZ --split=train \
        --output=data/records/dark_zurich_train
    python scripts/make_tfrecords.py --dataset=dark_zurich --root=DZ --split=val \
        --output=data/records/dark_zurich_val
    python scripts/train.py --config=configs/cityscapes_dark_zurich_r101_mic.py \
        --run_dir=runs/cityscapes_dark_zurich_r101_mic/self_training
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.DIRECT_STAGES


def get_config(stage: str = "self_training") -> Config:
    return peers.adverse_mic_config(
        "cityscapes_dark_zurich_r101_mic",
        target="data/records/dark_zurich_train",
        evaluation="data/records/dark_zurich_val",
    )
