"""IDD, India Driving Dataset (Varma et al., WACV 2019): IDD 20k in two parts, IDD_Segmentation and idd20kII.

Images are leftImg8bit/<split>/<drive>/<frame>_leftImg8bit.png, of the second part .jpg, in several sizes; labels are
polygons, gtFine/<split>/<drive>/<frame>_gtFine_polygons.json. The first part has 6,993 images train and 981 val.
"""

import json
import os
from dataclasses import replace

import numpy as np

from fada_tf.data import files
from fada_tf.data.conditions import SPLIT
from fada_tf.data.datasets import base
from fada_tf.data.drawing import Canvas
from fada_tf.data.images import LabelPixels
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import CITYSCAPES19, IGNORE, UNKNOWN_ID
from fada_tf.errors import InputError
from fada_tf.facts import Facts

SPLITS = ("train", "val", "test")
PARTS = ("", "IDD_Segmentation", "idd20kII")  # the folders that the zips unpack into
IMAGE_ENDINGS, LABEL_ENDING = ("_leftImg8bit.png", "_leftImg8bit.jpg"), "_gtFine_polygons.json"
BACKGROUND = "unlabeled"
# Classes that are none of Cityscapes' 19: helpers/anue_labels.py of https://github.com/AutoNUE/public-code.
IGNORED = (
    BACKGROUND, "animal", "autorickshaw", "billboard", "bridge", "caravan", "curb", "drivable fallback", "ego vehicle",
    "fallback background", "guard rail", "license plate", "obs-str-bar-fallback", "out of roi", "parking", "polegroup",
    "rail track", "rectification border", "trailer", "tunnel", "vehicle fallback",
)  # fmt: skip
TRAIN_IDS = {name: i for i, name in enumerate(CITYSCAPES19.names) if name != "terrain"} | dict.fromkeys(IGNORED, IGNORE)
TRAIN_IDS["non-drivable fallback"] = CITYSCAPES19.names.index("terrain")


def find(root: str, split: str) -> base.DataSet:
    """Finds the images of a split and, if they are there, their labels.

    Args:
      root: the folder that holds `leftImg8bit` and `gtFine`, or the one above it; of both parts, if both are there.
      split: 'train', 'val' or 'test'.
    """
    base.check_choice("IDD", "split", split, SPLITS)
    images, labels = (_paths(root, f"{folder}/{split}", endings) for folder, endings in _FOLDERS)
    if not images:
        looked_for = ", ".join(files.join(root, part, "leftImg8bit", split) for part in PARTS)
        raise InputError(f"no image found in {looked_for}: check --root and --split")
    pairs = base.pair_up(images, labels or None, root, root, LABELS)
    return base.with_conditions(replace(pairs, facts=Facts()), lambda name: {SPLIT: split})


_FOLDERS = (("leftImg8bit", IMAGE_ENDINGS), ("gtFine", (LABEL_ENDING,)))


def _paths(root: str, folder: str, endings: tuple[str, ...]) -> dict[str, str]:
    """Returns, of all parts, the paths below `root` by part, drive and frame."""
    return {
        f"{part}/{key}": os.path.join(part, folder, path)
        for part in PARTS
        if files.exists(files.join(root, part, folder))
        for key, path in base.paths_by_key(files.join(root, part, folder), endings, _frame).items()
    }


def _frame(path: str) -> str:
    return path.rpartition("_leftImg8bit" if "_leftImg8bit" in path else "_gtFine")[0]


def read_label(data: bytes) -> LabelPixels:
    """Draws the polygons of a label file.

    As the authors' program: in the order of the file, none that was deleted or has less than three corners, a group of
    a class as that class.

    Raises:
      InputError: the file is damaged.
    """
    try:
        content = json.loads(data)
        canvas = Canvas(content["imgHeight"], content["imgWidth"], BACKGROUND)
        for each in content["objects"]:
            if not each.get("deleted") and len(each["polygon"]) >= 3:
                canvas.polygon(_single(str(each["label"])), each["polygon"])
        return canvas.pixels()
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"is no file of polygons ({error!r})") from error


def _single(name: str) -> str:
    """Returns the class of a group's name."""
    single = name.removesuffix("group")
    return single if name not in TRAIN_IDS and single in TRAIN_IDS else name


LABELS = LabelFiles(
    CITYSCAPES19, np.full(256, UNKNOWN_ID, np.int16), "IDD does not have", read_label, by_name=TRAIN_IDS
)
