"""SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016): RGB/NNNNNNN.png, GT/LABELS/NNNNNNN.png, 9,400 pairs of 1280x760.

A label is a 16-bit RGB PNG: the class is in the first channel, an instance number in the second. Labels are stored in
the 19-class space; SYNTHIA has 16 of them.
"""

from fada_tf.data import files, images
from fada_tf.data.datasets import base
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import CITYSCAPES19, SYNTHIA_ID_MAP
from fada_tf.errors import InputError

FOLDER = "RAND_CITYSCAPES"  # the name of the folder in the download


def find(root: str) -> base.DataSet:
    """Finds the pairs.

    Args:
      root: the folder that holds `RGB` and `GT`, or the one above it.
    """
    if not files.exists(files.join(root, "RGB")) and files.exists(files.join(root, FOLDER)):
        root = files.join(root, FOLDER)
    images_folder, labels_folder = files.join(root, "RGB"), files.join(root, "GT/LABELS")
    return base.pair_up(
        base.paths_by_key(images_folder, images.SUFFIXES),
        base.paths_by_key(labels_folder, (images.LABEL_SUFFIX,)),
        images_folder,
        labels_folder,
        LabelFiles(CITYSCAPES19, SYNTHIA_ID_MAP, "SYNTHIA does not have (it has 0 to 22)", read_label),
    )


def read_label(data: bytes) -> images.LabelPixels:
    """Decodes a label.

    Raises:
      InputError: it is not a 16-bit RGB PNG.
    """
    import tensorflow as tf  # Pillow cuts 16-bit RGB down to its high bytes, which are all 0 here

    # Bytes 24 and 25 of a PNG are its bit depth and colour type.
    if data[:8] != b"\x89PNG\r\n\x1a\n" or tuple(data[24:26]) != (16, 2):
        raise InputError("a SYNTHIA label must be a 16-bit RGB PNG: take the files of GT/LABELS, not of GT/COLOR")
    try:
        ids = tf.io.decode_png(data, dtype=tf.uint16)[..., 0].numpy()
    except tf.errors.InvalidArgumentError as error:
        raise InputError(f"cannot be read as an image ({error.message})") from error
    return images.LabelPixels(ids)
