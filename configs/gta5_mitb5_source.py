r"""GTA5 alone, tested on Cityscapes: MiT-B5 with DAFormer's head and recipe, 19 classes.

The row that self-training with this network is to be compared with: most of what it has over ResNet-101 is there before
any adaptation.
weights/mit_b5.npz is what convert_weights makes of NVlabs' mit_b5.pth or of Hugging Face's model.safetensors.

    python scripts/train.py --config=configs/gta5_mitb5_source.py --run_dir=runs/gta5_mitb5_source/source
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.SOURCE_STAGES


def get_config(stage: str = "source") -> Config:
    return peers.source_config(
        "gta5_mitb5_source",
        backbone="mit_b5",
        imagenet="weights/mit_b5.npz",
        source_records="data/records/gta5",
        source_size=(720, 1280),
    )
