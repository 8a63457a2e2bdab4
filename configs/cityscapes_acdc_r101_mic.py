r"""Cityscapes to ACDC with ResNet-101 by MIC at half resolution, 19 classes.

Published mIoU on the test images of ACDC, %, by MIC's authors:
70.4 with MiT-B5 and HRDA's two resolutions (DAFormer: 55.4).
Nobody has published one with ResNet-101 at half resolution.

    python scripts/make_tfrecords.py --dataset=acdc --root=ACDC --split=train --output=data/records/acdc_train
    python scripts/make_tfrecords.py --dataset=acdc --root=ACDC --split=val --output=data/records/acdc_val
    python scripts/train.py --config=configs/cityscapes_acdc_r101_mic.py \
        --run_dir=runs/cityscapes_acdc_r101_mic/self_training
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.DIRECT_STAGES


def get_config(stage: str = "self_training") -> Config:
    return peers.adverse_mic_config(
        "cityscapes_acdc_r101_mic",
        target="data/records/acdc_train",
        evaluation="data/records/acdc_val",
    )
