"""BDD100K (Yu et al., CVPR 2020): the 10,000 street images with labels of semantic segmentation, 1280x720 pixels.

Images are images/10k/<split>/<name>.jpg, labels labels/sem_seg/masks/<split>/<name>.png; in the older release
seg/images/<split>/<name>.jpg and seg/labels/<split>/<name>_train_id.png. There are 7,000 images train, 1,000 val and
2,000 test, whose labels are withheld; val shows next to no train (the class).
"""

from dataclasses import replace

from fada_tf.data import files
from fada_tf.data.conditions import SPLIT
from fada_tf.data.datasets import base
from fada_tf.data.label_files import CITYSCAPES_TRAIN_IDS
from fada_tf.facts import Facts

SPLITS = ("train", "val", "test")
# A release's folder of images and the folders that its zip may unpack into, the same of labels, how their names end.
RELEASES = (
    (
        ("images/10k", "bdd100k", "bdd100k_images_10k/bdd100k"),
        ("labels/sem_seg/masks", "bdd100k", "bdd100k_sem_seg_labels_trainval/bdd100k"),
        ".png",
    ),
    (
        ("seg/images", "bdd100k", "bdd100k_seg/bdd100k"),
        ("seg/labels", "bdd100k", "bdd100k_seg/bdd100k"),
        "_train_id.png",
    ),
)


def find(root: str, split: str) -> base.DataSet:
    """Finds the images of a split and, if they are there, their labels; where both releases are there, of the newer.

    Args:
      root: the folder that holds `images` and `labels`, or `seg` of the older release, or the one above it, or the one
        of the folders that the zips unpack into.
      split: 'train', 'val' or 'test'.
    """
    base.check_choice("BDD100K", "split", split, SPLITS)
    found = [(base.locate(root, *images), base.locate(root, *labels), ending) for images, labels, ending in RELEASES]
    present = [release for release in found if files.exists(files.join(release[0], split))]
    labelled = [release for release in present if files.exists(files.join(release[1], split))]
    images_folder, labels_folder, label_ending = (labelled or present or found)[0]
    pairs = base.pair_up_parts([split], images_folder, ".jpg", labels_folder, label_ending, CITYSCAPES_TRAIN_IDS)
    return base.with_conditions(replace(pairs, facts=Facts()), lambda name: {SPLIT: split})
