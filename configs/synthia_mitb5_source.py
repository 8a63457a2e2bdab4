r"""SYNTHIA alone, tested on Cityscapes: MiT-B5 with DAFormer's head and recipe, 16 classes.

The row that self-training with this network is to be compared with: most of what it has over ResNet-101 is there before
any adaptation.
weights/mit_b5.npz is what convert_weights makes of NVlabs' mit_b5.pth or of Hugging Face's model.safetensors.

    python scripts/train.py --config=configs/synthia_mitb5_source.py --run_dir=runs/synthia_mitb5_source/source
"""

from fada_tf import peers
from fada_tf.config import Config

STAGES = peers.SOURCE_STAGES


def get_config(stage: str = "source") -> Config:
    config = peers.source_config(
        "synthia_mitb5_source",
        backbone="mit_b5",
        imagenet="weights/mit_b5.npz",
        source_records="data/records/synthia",
        source_size=(760, 1280),
    )
    config.data.label_space = "cityscapes16"
    return config
