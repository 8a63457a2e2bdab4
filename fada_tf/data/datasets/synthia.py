"""SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016): RGB/NNNNNNN.png, GT/LABELS/NNNNNNN.png, 9,400 pairs of 1280x760.

A label is a 16-bit RGB PNG: the class is in the first channel, an instance number in the second. Labels are stored in
the 19-class space; SYNTHIA has 16 of them.
"""

import numpy as np

from fada_tf.data import files
from fada_tf.data.datasets import base
from fada_tf.data.labels import CITYSCAPES19, SYNTHIA_ID_MAP
from fada_tf.errors import InputError

FOLDER = "RAND_CITYSCAPES"  # the name of the folder in the download


def source(root: str) -> base.Source:
    """Finds the pairs.

    Args:
        root: the folder that holds `RGB` and `GT`, or the one above it.
    """
    if not files.exists(files.join(root, "RGB")) and files.exists(files.join(root, FOLDER)):
        root = files.join(root, FOLDER)
    images_folder, labels_folder = files.join(root, "RGB"), files.join(root, "GT/LABELS")
    return base.pair_up(
        base.paths_by_key(images_folder, (".png",)),
        base.paths_by_key(labels_folder, (".png",)),
        images_folder,
        labels_folder,
        label_space=CITYSCAPES19,
        id_map=SYNTHIA_ID_MAP,
        read_ids=read_ids,
    )


def read_ids(data: bytes) -> np.ndarray:
    """Decodes a label, [height, width] uint8 class ids.

    Raises:
        InputError: it is not a 16-bit RGB PNG.
    """
    import tensorflow as tf  # Pillow cuts 16-bit RGB down to its high bytes, which are all 0 here

    # Bytes 24 and 25 of a PNG are its bit depth and colour type.
    if data[:8] != b"\x89PNG\r\n\x1a\n" or tuple(data[24:26]) != (16, 2):
        raise InputError("a SYNTHIA label must be a 16-bit RGB PNG; take the files of GT/LABELS, not of GT/COLOR")
    try:
        ids = tf.io.decode_png(data, dtype=tf.uint16)[..., 0].numpy()
    except tf.errors.InvalidArgumentError as error:
        raise InputError(f"cannot be read as an image ({error.message})") from error
    return np.minimum(ids, 255).astype(np.uint8)  # no class has so high an id: they all become ignored
