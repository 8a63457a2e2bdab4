"""Mapillary Vistas 1.2 (Neuhold et al., ICCV 2017): streets of the world in many sizes, up to 4000 pixels and more.

Images are <split>/images/*.jpg, labels <split>/v1.2/labels/*.png, of the older zip <split>/labels/*.png: palette PNGs,
whose ids are the places of 66 classes in config_v1.2.json. There are 18,000 images training, 2,000
validation and 5,000 testing, whose labels are withheld.
"""

from dataclasses import replace

import numpy as np

from fada_tf.data import files
from fada_tf.data.conditions import SPLIT
from fada_tf.data.datasets import base
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import CITYSCAPES19, IGNORE, UNKNOWN_ID
from fada_tf.errors import InputError
from fada_tf.facts import Facts

SPLITS = ("training", "validation", "testing")
CONFIGS = ("config_v1.2.json", "config.json")  # the second in the older zip
# What a class of Cityscapes is called here. All other classes are ignored.
SHARED = {
    "road": ("construction--flat--road", "marking--general"),
    "sidewalk": ("construction--barrier--curb", "construction--flat--sidewalk"),
    "building": ("construction--structure--building",),
    "wall": ("construction--barrier--wall",),
    "fence": ("construction--barrier--fence",),
    "pole": ("object--support--pole", "object--support--utility-pole"),
    "traffic light": ("object--traffic-light",),
    "traffic sign": ("object--traffic-sign--front",),
    "vegetation": ("nature--vegetation",),
    "terrain": ("nature--terrain",),
    "sky": ("nature--sky",),
    "person": ("human--person",),
    "rider": ("human--rider--bicyclist", "human--rider--motorcyclist", "human--rider--other-rider"),
    "car": ("object--vehicle--car",),
    "truck": ("object--vehicle--truck",),
    "bus": ("object--vehicle--bus",),
    "train": ("object--vehicle--on-rails",),
    "motorcycle": ("object--vehicle--motorcycle",),
    "bicycle": ("object--vehicle--bicycle",),
}
# Two maps to Cityscapes' classes are in use; what each has beyond the shared classes.
MAPS: dict[str, dict[str, tuple[str, ...]]] = {
    # Rein (Wei et al., CVPR 2024) and the papers on domain generalization
    "rein": {
        "road": (
            "construction--flat--bike-lane",
            "construction--flat--crosswalk-plain",
            "construction--flat--parking",
            "construction--flat--service-lane",
            "marking--crosswalk-zebra",
        ),
        "sidewalk": ("construction--flat--curb-cut", "construction--flat--pedestrian-area"),
        "pole": ("object--street-light",),
        "traffic sign": ("object--support--traffic-sign-frame", "object--traffic-sign--back"),
    },
    # VFM-UDA++ (Englert et al., 2025) and HRDA (Hoyer et al., ECCV 2022)
    "vfm_uda": {"road": ("object--manhole",)},
}


def find(root: str, split: str, classes: str = "rein") -> base.DataSet:
    """Finds the images of a split and, if they are there, their labels.

    Args:
      root: the folder that holds the splits and config_v1.2.json.
      split: 'training', 'validation' or 'testing'.
      classes: the map to the 19 classes of Cityscapes, 'rein' or 'vfm_uda'.
    """
    base.check_choice("Mapillary Vistas", "split", split, SPLITS)
    base.check_choice("Mapillary Vistas", "map of classes", classes, MAPS)
    images_folder = files.join(root, split, "images")
    labels_folder = base.locate(files.join(root, split), "labels", "v1.2")
    # The folder of labels that testing has is empty.
    if split == "testing" or not files.exists(labels_folder):
        pairs = base.pair_up(base.paths_by_key(images_folder, (".jpg",)), None, images_folder, None)
    else:
        pairs = base.pair_up_parts([""], images_folder, ".jpg", labels_folder, ".png", _label_files(root, classes))
    return base.with_conditions(replace(pairs, facts=Facts()), lambda name: {SPLIT: split})


def _label_files(root: str, classes: str) -> LabelFiles:
    config = next((files.join(root, name) for name in CONFIGS if files.exists(files.join(root, name))), None)
    if config is None:
        raise InputError(f"{root} has no {CONFIGS[0]}, which says what the labels' ids mean: copy it from the download")
    try:
        names = [label["name"] for label in files.read_json(config)["labels"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{config} cannot be read ({error!r}): copy it from the download again") from error
    train_ids = {
        name: train_id
        for train_id, class_name in enumerate(CITYSCAPES19.names)
        for name in (*SHARED[class_name], *MAPS[classes].get(class_name, ()))
    }
    if missing := sorted(set(train_ids) - set(names)):
        raise InputError(f"{config} lacks {', '.join(missing)}: take {CONFIGS[0]}, as labels of 2.0 have other ids")
    id_map = np.full(256, UNKNOWN_ID, np.int16)
    id_map[: len(names)] = [train_ids.get(name, IGNORE) for name in names[:256]]
    return LabelFiles(CITYSCAPES19, id_map, f"Mapillary Vistas 1.2 does not have (it has 0 to {len(names) - 1})")
