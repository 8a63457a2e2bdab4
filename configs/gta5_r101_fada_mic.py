r"""GTA5 to Cityscapes with ResNet-101 by FADA, then MIC with FADA's discriminator beside it, 19 classes.

Nobody has published this combination: no number is expected but to be above FADA's.

    python scripts/run_pipeline.py --config=configs/gta5_r101_fada_mic.py
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.STAGES_AFTER_FADA


def get_config(stage: str = "source") -> Config:
    return peers.fada_mic_config(
        "gta5_r101_fada_mic",
        stage,
        imagenet="weights/resnet101_imagenet.npz",
        source_records="data/records/gta5",
        source_size=(720, 1280),
    )
