"""Foggy Cityscapes (Sakaridis et al., IJCV 2018): leftImg8bit_foggy/<split>/<city>/*_foggy_beta_<beta>.png.

Each image of Cityscapes in three densities of fog, with the labels of Cityscapes beside it: gtFine/<split>.
"""

from dataclasses import replace

from fada_tf.data import files
from fada_tf.data.conditions import WEATHER
from fada_tf.data.datasets import base, cityscapes
from fada_tf.facts import CITYSCAPES_MARGINS, Facts

BETAS = ("0.005", "0.01", "0.02")
FOLDERS = ("leftImg8bit_foggy", "leftImg8bit_foggyDBF")


def find(root: str, split: str, beta: str = "0.02", images: str = FOLDERS[0]) -> base.DataSet:
    """Finds the images of a split in one density of fog and, if `gtFine/<split>` exists, their labels.

    Args:
      root: the folder that holds the folder of images and, for labels, `gtFine`.
      split: 'train', 'val', 'test' or 'train_extra'.
      beta: the attenuation of the fog in 1/m, one of `BETAS`; 0.02 is the densest.
      images: 'leftImg8bit_foggy', or 'leftImg8bit_foggyDBF' for the fog whose computation used the labels.
    """
    base.check_choice("Foggy Cityscapes", "beta", beta, BETAS)
    base.check_choice("Foggy Cityscapes", "images", images, FOLDERS)
    ending = f"_leftImg8bit_foggy_beta_{beta}.png"
    pairs = cityscapes.pairs_of(split, files.join(root, images), files.join(root, "gtFine"), ending)
    pairs = replace(pairs, facts=Facts(CITYSCAPES_MARGINS, adverse=True))
    return base.with_conditions(pairs, lambda name: {WEATHER: "fog"})
