"""UrbanSyn (Gómez et al., arXiv 2312.12176): rgb/rgb_NNNN.png with ss/ss_NNNN.png, 7,539 pairs of 2048x1024.

A label has several channels and the train id of Cityscapes in the first; 19 is unlabelled. There are no splits.
"""

import os

from fada_tf.data import files, images
from fada_tf.data.datasets import base
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import CITYSCAPES19, URBANSYN_ID_MAP

LABELS = LabelFiles(CITYSCAPES19, URBANSYN_ID_MAP, "UrbanSyn does not have (it has 0 to 19)", images.read_first_channel)


def find(root: str) -> base.DataSet:
    """Finds the pairs, by the number in their names.

    Args:
      root: the folder that holds `rgb` and `ss`.
    """
    images_folder, labels_folder = files.join(root, "rgb"), files.join(root, "ss")
    return base.pair_up(
        base.paths_by_key(images_folder, images.SUFFIXES, _number),
        base.paths_by_key(labels_folder, (images.LABEL_SUFFIX,), _number),
        images_folder,
        labels_folder,
        LABELS,
    )


def _number(path: str) -> str:
    return os.path.splitext(path)[0].rpartition("_")[2]
