"""Cityscapes (Cordts et al., CVPR 2016): leftImg8bit/<split>/<city>/*.png, gtFine/<split>/<city>/*_labelIds.png.

Its splits are folders: 2,975 images train, 500 val, 1,525 test, of 2048x1024 pixels.
"""

from dataclasses import replace

from fada_tf.data import files
from fada_tf.data.conditions import CITY, SPLIT
from fada_tf.data.datasets import base
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import CITYSCAPES19, CITYSCAPES_ID_MAP
from fada_tf.facts import CITYSCAPES_MARGINS, Facts

SPLITS = ("train", "val", "test", "train_extra")
LABELS = LabelFiles(
    CITYSCAPES19, CITYSCAPES_ID_MAP, "Cityscapes does not have (it has 0 to 33; *_labelTrainIds.png hold train ids)"
)
IMAGE_ENDING, LABEL_ENDING = "_leftImg8bit.png", "_gtFine_labelIds.png"


def find(root: str, split: str) -> base.DataSet:
    """Finds the images of a split and, if `gtFine/<split>` exists, their labels.

    Args:
      root: the folder that holds `leftImg8bit` and, for labels, `gtFine`.
      split: 'train', 'val', 'test' or 'train_extra'.
    """
    return pairs_of(split, files.join(root, "leftImg8bit"), files.join(root, "gtFine"), IMAGE_ENDING)


def pairs_of(split: str, images: str, labels: str, image_ending: str) -> base.DataSet:
    """Finds the images of a split, in Cityscapes' layout, and their labels if the split has some.

    Args:
      split: one of `SPLITS`.
      images: folder of all splits' images.
      labels: folder of all splits' labels, `gtFine` of Cityscapes.
      image_ending: what follows city, sequence and frame in the images' names.
    """
    base.check_choice("Cityscapes", "split", split, SPLITS)
    images_folder, labels_folder = files.join(images, split), files.join(labels, split)
    image_paths = base.paths_by_key(images_folder, (image_ending,), lambda path: path[: -len(image_ending)])
    label_paths = None
    if files.exists(labels_folder):
        label_paths = base.paths_by_key(labels_folder, (LABEL_ENDING,), lambda path: path[: -len(LABEL_ENDING)])
    pairs = base.pair_up(image_paths, label_paths, images_folder, labels_folder, LABELS)
    pairs = replace(pairs, facts=Facts(CITYSCAPES_MARGINS))
    return base.with_conditions(pairs, lambda name: {SPLIT: split, CITY: name.rpartition("/")[2].partition("_")[0]})
