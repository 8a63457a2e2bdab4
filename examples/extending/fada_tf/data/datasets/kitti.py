"""KITTI's semantic benchmark (Alhaija et al., IJCV 2018): training/image_2/NAME.png, training/semantic/NAME.png."""

from fada_tf.data import files
from fada_tf.data.datasets import base
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import CITYSCAPES19, CITYSCAPES_ID_MAP

SPLITS = ("training", "testing")
# CITYSCAPES_ID_MAP says what every id in the files means: [256] int16, train ids, 255 where ignored, -1 where wrong.
LABELS = LabelFiles(CITYSCAPES19, CITYSCAPES_ID_MAP, "KITTI does not have (it has Cityscapes' 0 to 33)")


def find(root: str, split: str) -> base.DataSet:
    """Finds the images of a split and, if they are there, their labels.

    Args:
      root: the folder that holds `training` and `testing`.
      split: 'training', or 'testing', whose labels are withheld.
    """
    base.check_choice("KITTI", "split", split, SPLITS)
    images_folder, labels_folder = files.join(root, split, "image_2"), files.join(root, split, "semantic")
    return base.pair_up_parts([""], images_folder, ".png", labels_folder, ".png", LABELS)
