"""ACDC (Sakaridis et al., ICCV 2021): streets in fog, at night, in rain and in snow, 1920x1080 pixels.

Images are rgb_anon/<condition>/<split>/<recording>/*_rgb_anon.png, labels *_gt_labelTrainIds.png in the same folders of
gt. There are 1,600 images train, 406 val and 2,000 test, whose labels are withheld. `<split>_ref` has, for each image,
one of the same place in clear weather.
"""

from dataclasses import replace

from fada_tf.data import files
from fada_tf.data.conditions import SPLIT, TIME_OF_DAY, WEATHER
from fada_tf.data.datasets import base
from fada_tf.data.label_files import CITYSCAPES_TRAIN_IDS
from fada_tf.facts import ADVERSE, Facts

CONDITIONS = ("fog", "night", "rain", "snow")
SPLITS = ("train", "val", "test", "train_ref", "val_ref", "test_ref")


def find(root: str, split: str, condition: str = "all") -> base.DataSet:
    """Finds the images of a split and, if they are there, their labels.

    Args:
      root: the folder that holds `rgb_anon` and, for labels, `gt`, or the folders `rgb_anon_trainvaltest` and
        `gt_trainval` that hold them. A split may also be one folder for all conditions, `rgb_anon/<split>`.
      split: 'train', 'val' or 'test', or the same places in clear weather, 'train_ref', 'val_ref' or 'test_ref'.
      condition: 'fog', 'night', 'rain' or 'snow'; 'all' is all four.
    """
    base.check_choice("ACDC", "split", split, SPLITS)
    base.check_choice("ACDC", "condition", condition, ("all", *CONDITIONS))
    images_folder = base.locate(root, "rgb_anon", "rgb_anon_trainvaltest")
    parts = [f"{name}/{split}" for name in CONDITIONS if condition in ("all", name)]
    if condition == "all" and not any(files.exists(files.join(images_folder, part)) for part in parts):
        parts = [split]
    reference = "_ref" if split.endswith("_ref") else ""
    pairs = base.pair_up_parts(
        parts,
        images_folder,
        f"_rgb{reference}_anon.png",
        base.locate(root, "gt", "gt_trainval"),
        f"_gt{reference}_labelTrainIds.png",
        CITYSCAPES_TRAIN_IDS,
    )

    def conditions(name: str) -> dict[str, str]:
        found = name.partition("/")[0]
        if reference:
            return {SPLIT: split, WEATHER: "clear"}
        if found not in CONDITIONS:
            return {SPLIT: split}
        return {SPLIT: split, TIME_OF_DAY if found == "night" else WEATHER: found}

    return base.with_conditions(replace(pairs, facts=Facts() if reference else ADVERSE), conditions)
