r"""GTA5, SYNTHIA and UrbanSyn together to Cityscapes with ResNet-101, 19 classes: three sources as one.

Published mIoU on Cityscapes val, %, without adaptation, by Rein's authors with DINOv2-L: 68.1 from GTA5 and SYNTHIA,
78.4 with UrbanSyn besides. Nobody has published one of ResNet-101.

    python scripts/run_pipeline.py --config=configs/three_sources_r101.py
"""

from fada_tf import paper
from fada_tf.config import Config

STAGES = paper.STAGES


def get_config(stage: str = "source") -> Config:
    config = paper.stage_config(
        "three_sources_r101",
        stage,
        backbone="resnet101",
        imagenet="weights/resnet101_imagenet.npz",
        source_records="data/records/gta5,data/records/synthia,data/records/urbansyn",
        source_size=(720, 1280),
    )
    if stage == "self_distillation":
        config.model.batch_norm = "synchronized"
        config.data.target.color_jitter = True
    return config
