r"""SYNTHIA to Cityscapes with MiT-B5 by FADA, then MIC with FADA's discriminator beside it, 16 classes.

Nobody has published this combination, nor FADA with this network: no number is expected but to be above the source's.
weights/mit_b5.npz is what convert_weights makes of NVlabs' mit_b5.pth or of Hugging Face's model.safetensors.

    python scripts/run_pipeline.py --config=configs/synthia_mitb5_fada_mic.py
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.STAGES_AFTER_FADA


def get_config(stage: str = "source") -> Config:
    config = peers.fada_mic_config(
        "synthia_mitb5_fada_mic",
        stage,
        backbone="mit_b5",
        imagenet="weights/mit_b5.npz",
        source_records="data/records/synthia",
        source_size=(760, 1280),
    )
    config.data.label_space = "cityscapes16"
    if stage == "self_training":
        config.method.thing_classes = "6,7,10,11,12,13,14,15"  # as DAFormer's, without truck and train
    return config
