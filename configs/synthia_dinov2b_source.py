r"""SYNTHIA alone with DINOv2's ViT-B and VFM-UDA's head, 16 classes: what foundation models bring without adaptation.

No published mIoU is known of this row.

    python scripts/convert_weights.py --input=dinov2-base/model.safetensors --backbone=dinov2_base \
        --output=weights/dinov2_base.npz
    python scripts/train.py --config=configs/synthia_dinov2b_source.py --run_dir=runs/synthia_dinov2b_source/source

The first of these reads what Hugging Face publishes as facebook/dinov2-base. Cards with less memory: training.precision
mixed_bfloat16, training.accumulation_steps 8, model.recompute True, and model.trainable lora or head.
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.SOURCE_STAGES


def get_config(stage: str = "source") -> Config:
    config = peers.dinov2_source_config(
        "synthia_dinov2b_source",
        pretrained="weights/dinov2_base.npz",
        source_records="data/records/synthia",
        source_size=(1120, 1886),
    )
    config.data.label_space = "cityscapes16"
    return config
