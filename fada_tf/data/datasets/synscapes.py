"""Synscapes (Wrenninge and Unger, 2018): img/rgb/N.png with img/class/N.png, 25,000 pairs of 1440x720, no splits.

Labels have the label ids of Cityscapes. img/rgb-2k/N.png are the same scenes at 2048x1024, without labels of that size.
"""

import numpy as np

from fada_tf.data import files
from fada_tf.data import images as image_files
from fada_tf.data.datasets import base
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import CITYSCAPES19, CITYSCAPES_ID_MAP

FOLDER = "Synscapes"  # the name of the folder in the download
WRONG = "Cityscapes, whose ids these labels have, does not have (0 to 33)"


def find(root: str, images: str = "rgb") -> base.DataSet:
    """Finds the pairs.

    Args:
      root: the folder that holds `img`, or the one above it.
      images: 'rgb' for images of 1440x720, or 'rgb-2k' for those of 2048x1024, whose labels are enlarged to that size.
    """
    readers = {"rgb": image_files.read_label, "rgb-2k": read_enlarged}
    base.check_choice("Synscapes", "images", images, readers)
    if not files.exists(files.join(root, "img")) and files.exists(files.join(root, FOLDER)):
        root = files.join(root, FOLDER)
    images_folder, labels_folder = files.join(root, "img", images), files.join(root, "img/class")
    return base.pair_up(
        base.paths_by_key(images_folder, image_files.SUFFIXES),
        base.paths_by_key(labels_folder, (image_files.LABEL_SUFFIX,)),
        images_folder,
        labels_folder,
        LabelFiles(CITYSCAPES19, CITYSCAPES_ID_MAP, WRONG, readers[images]),
    )


def read_enlarged(data: bytes) -> image_files.LabelPixels:
    """Decodes a label to the size of its image in rgb-2k, 64/45 of its own: each pixel takes the nearest id.

    Raises:
      InputError: as `images.read_label`.
    """
    pixels = image_files.read_label(data)
    # The centre of pixel i is at (i + 1/2) * 45/64 in the label.
    rows, columns = ((2 * np.arange(-(-size * 64 // 45)) + 1) * 45 // 128 for size in pixels.values.shape)
    return image_files.LabelPixels(pixels.values[np.ix_(rows, columns)], pixels.colors, pixels.are_ids)
