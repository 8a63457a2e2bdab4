r"""SYNTHIA to Cityscapes with MiT-B5 and DAFormer's head by MIC at half resolution, 16 classes.

Published mIoU on Cityscapes val, %, of the papers' own runs: 60.9 without masks (DAFormer), and 67.3 with masks
and HRDA's two resolutions, which this is without (MIC).
weights/mit_b5.npz is what convert_weights makes of NVlabs' mit_b5.pth or of Hugging Face's model.safetensors.

    python scripts/train.py --config=configs/synthia_mitb5_mic.py --run_dir=runs/synthia_mitb5_mic/self_training
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.DIRECT_STAGES


def get_config(stage: str = "self_training") -> Config:
    config = peers.mic_config(
        "synthia_mitb5_mic",
        backbone="mit_b5",
        imagenet="weights/mit_b5.npz",
        source_records="data/records/synthia",
        source_size=(760, 1280),
    )
    config.data.label_space = "cityscapes16"
    config.method.thing_classes = "6,7,10,11,12,13,14,15"  # as DAFormer's, without truck and train
    return config
