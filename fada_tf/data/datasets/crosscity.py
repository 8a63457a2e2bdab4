"""Cross-City, "No More Discrimination" (Chen et al., ICCV 2017): Rio, Rome, Taipei, Tokyo, each <City>/Images/<Split>.

A city has 3,200 images to train on without labels and 100 to test on, labelled <City>/Labels/Test/<name>_eval.png with
Cityscapes ids of 13 classes. The lists <City>/List/train.txt and test.txt are followed where they are present.
"""

from dataclasses import replace

from fada_tf.data import files, images
from fada_tf.data.conditions import CITY, SPLIT
from fada_tf.data.datasets import base
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import CITYSCAPES19, CROSSCITY_ID_MAP
from fada_tf.facts import Facts

CITIES = ("Rio", "Rome", "Taipei", "Tokyo")
SPLITS = ("train", "test")
LABELS = LabelFiles(CITYSCAPES19, CROSSCITY_ID_MAP, "Cityscapes, whose ids these labels have, does not have (0 to 33)")
LABEL_ENDING = "_eval.png"


def find(root: str, city: str, split: str) -> base.DataSet:
    """Finds the images of a city's split and, if `Labels/<Split>` exists, their labels.

    Args:
      root: the folder that holds the cities.
      city: one of `CITIES`.
      split: 'train' or 'test'.
    """
    base.check_choice("Cross-City", "city", city, CITIES)
    base.check_choice("Cross-City", "split", split, SPLITS)
    images_folder = files.join(root, city, "Images", split.capitalize())
    labels_folder = files.join(root, city, "Labels", split.capitalize())
    names = files.join(root, city, "List", f"{split}.txt")
    image_paths = base.paths_by_key(images_folder, images.SUFFIXES)
    labels = None
    if files.exists(labels_folder):
        labels = base.paths_by_key(labels_folder, (LABEL_ENDING,), lambda path: path[: -len(LABEL_ENDING)])
    pairs = base.pair_up(image_paths, labels, images_folder, labels_folder, LABELS)
    pairs = base.with_conditions(replace(pairs, facts=Facts()), lambda name: {SPLIT: split, CITY: city})
    return base.keep_listed(pairs, base.read_list(names) if files.exists(names) else None, names)
