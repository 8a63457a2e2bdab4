"""Nighttime Driving test (Dai and Van Gool, ITSC 2018): 50 labelled street images at night, 1920x1080 pixels.

Images are leftImg8bit/test/night/*_leftImg8bit.png; the labels' folder is called daytime although it holds those of the
night, gtCoarse_daytime_trainvaltest/test/night/*_gtCoarse_labelTrainIds.png.
"""

from dataclasses import replace

from fada_tf.data.conditions import SPLIT, TIME_OF_DAY
from fada_tf.data.datasets import base
from fada_tf.data.label_files import CITYSCAPES_TRAIN_IDS
from fada_tf.facts import ADVERSE

FOLDER = "NighttimeDrivingTest"  # the name of the folder in the download


def find(root: str) -> base.DataSet:
    """Finds the pairs.

    Args:
      root: the folder that holds `leftImg8bit` and `gtCoarse_daytime_trainvaltest`, or the one above it.
    """
    pairs = base.pair_up_parts(
        ["test/night"],
        base.locate(root, "leftImg8bit", FOLDER),
        "_leftImg8bit.png",
        base.locate(root, "gtCoarse_daytime_trainvaltest", FOLDER),
        "_gtCoarse_labelTrainIds.png",
        CITYSCAPES_TRAIN_IDS,
    )
    pairs = replace(pairs, facts=ADVERSE)
    return base.with_conditions(pairs, lambda name: {SPLIT: "test", TIME_OF_DAY: "night"})
