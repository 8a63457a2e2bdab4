r"""GTA5 to Cityscapes with MiT-B5 and DAFormer's head by MIC at half resolution, 19 classes.

Published mIoU on Cityscapes val, %, of the papers' own runs: 68.3 without masks (DAFormer), and 75.9 with masks
and HRDA's two resolutions, which this is without (MIC).
weights/mit_b5.npz is what convert_weights makes of NVlabs' mit_b5.pth or of Hugging Face's model.safetensors.

    python scripts/train.py --config=configs/gta5_mitb5_mic.py --run_dir=runs/gta5_mitb5_mic/self_training
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.DIRECT_STAGES


def get_config(stage: str = "self_training") -> Config:
    return peers.mic_config(
        "gta5_mitb5_mic",
        backbone="mit_b5",
        imagenet="weights/mit_b5.npz",
        source_records="data/records/gta5",
        source_size=(720, 1280),
    )
