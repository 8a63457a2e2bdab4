"""Dark Zurich (Sakaridis et al., ICCV 2019): streets at night, in twilight and by day, 1920x1080 pixels.

Images are rgb_anon/<split>/<condition>/<recording>/*_rgb_anon.png, labels *_gt_labelTrainIds.png in the same folders of
gt. Train has 2,416 images at night, 2,920 in twilight and 3,041 by day, without labels; val has 50 at night, labelled,
and test 151 whose labels are withheld.
"""

from dataclasses import replace

from fada_tf.data.conditions import SPLIT, TIME_OF_DAY
from fada_tf.data.datasets import base
from fada_tf.data.label_files import CITYSCAPES_TRAIN_IDS
from fada_tf.facts import ADVERSE

SPLITS = ("train", "val", "test")
CONDITIONS = ("night", "twilight", "day")


def find(root: str, split: str, condition: str = "night") -> base.DataSet:
    """Finds the images of a split and, if they are there, their labels.

    Args:
      root: the folder that holds `rgb_anon` and, for labels, `gt`, or the folders that the zips of the splits unpack
        into, `Dark_Zurich_train_anon` and so on.
      split: 'train', 'val' or 'test'.
      condition: 'night', the usual target, or 'twilight', 'day' or 'all' of train.
    """
    base.check_choice("Dark Zurich", "split", split, SPLITS)
    base.check_choice("Dark Zurich", "condition", condition, (*CONDITIONS, "all"))
    unpacked = f"Dark_Zurich_{split}_anon", f"Dark_Zurich_{split}_anon_withoutGt"
    pairs = base.pair_up_parts(
        [name for name in CONDITIONS if condition in ("all", name)],
        base.locate(root, f"rgb_anon/{split}", *unpacked),
        "_rgb_anon.png",
        base.locate(root, f"gt/{split}", *unpacked),
        "_gt_labelTrainIds.png",
        CITYSCAPES_TRAIN_IDS,
    )
    pairs = replace(pairs, facts=ADVERSE)
    return base.with_conditions(pairs, lambda name: {SPLIT: split, TIME_OF_DAY: name.partition("/")[0]})
