r"""GTA5 to Cityscapes with MiT-B5 by FADA, then MIC with FADA's discriminator beside it, 19 classes.

Nobody has published this combination, nor FADA with this network: no number is expected but to be above the source's.
weights/mit_b5.npz is what convert_weights makes of NVlabs' mit_b5.pth or of Hugging Face's model.safetensors.

    python scripts/run_pipeline.py --config=configs/gta5_mitb5_fada_mic.py
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.STAGES_AFTER_FADA


def get_config(stage: str = "source") -> Config:
    return peers.fada_mic_config(
        "gta5_mitb5_fada_mic",
        stage,
        backbone="mit_b5",
        imagenet="weights/mit_b5.npz",
        source_records="data/records/gta5",
        source_size=(720, 1280),
    )
