"""MUSES (Brödermann et al., ECCV 2024): streets in clear weather, fog, rain and snow, by day and at night, 1920x1080.

Images are frame_camera/<split>/<weather>/<time of day>/*_frame_camera.png, labels *_gt_labelTrainIds.png in the same
folders of gt_semantic. There are 1,500 images train, 250 val and 750 test; test has labels only in later downloads.
"""

from dataclasses import replace

from fada_tf.data.conditions import SPLIT, TIME_OF_DAY, WEATHER
from fada_tf.data.datasets import base
from fada_tf.data.label_files import CITYSCAPES_TRAIN_IDS
from fada_tf.facts import ADVERSE

SPLITS = ("train", "val", "test")
WEATHERS = ("clear", "fog", "rain", "snow")
TIMES = ("day", "night")
BOTH = tuple(f"{weather}/{time}" for weather in WEATHERS for time in TIMES)


def find(root: str, split: str, condition: str = "all") -> base.DataSet:
    """Finds the images of a split and, if they are there, their labels.

    Args:
      root: the folder that holds `frame_camera` and, for labels, `gt_semantic`, or the one above it, or the one of the
        folders that the zips unpack into.
      split: 'train', 'val' or 'test'.
      condition: a weather, 'clear', 'fog', 'rain' or 'snow', a time, 'day' or 'night', or both, such as 'fog/night';
        'all' is all of them.
    """
    base.check_choice("MUSES", "split", split, SPLITS)
    base.check_choice("MUSES", "condition", condition, ("all", *WEATHERS, *TIMES, *BOTH))
    pairs = base.pair_up_parts(
        [both for both in BOTH if condition in ("all", both, *both.split("/"))],
        base.locate(root, f"frame_camera/{split}", "muses", "RGB_Frame_Camera_trainvaltest/muses"),
        "_frame_camera.png",
        base.locate(root, f"gt_semantic/{split}", "muses", "Semantic_Annotations_trainval/muses"),
        "_gt_labelTrainIds.png",
        CITYSCAPES_TRAIN_IDS,
    )

    def conditions(name: str) -> dict[str, str]:
        weather, time_of_day = name.split("/")[:2]
        return {SPLIT: split, WEATHER: weather, TIME_OF_DAY: time_of_day}

    return base.with_conditions(replace(pairs, facts=ADVERSE), conditions)
