"""Predictions as Cityscapes' own evaluation and its server read them: PNGs of label ids, named by city and frame."""

import os
import re
from collections.abc import Iterable, Iterator

import numpy as np

from fada_tf.data import files, images
from fada_tf.data.labels import CITYSCAPES_LABEL_IDS, LabelSpace
from fada_tf.errors import InputError
from fada_tf.evaluation.prediction import Predictor, read_picture

_IMAGE_NAME = re.compile(r"(?P<frame>[^_/]+_\d+_\d+)(_leftImg8bit)?\.[a-z]+$", re.IGNORECASE)


def label_ids(label_space: LabelSpace) -> np.ndarray:
    """Returns [K] uint8, Cityscapes' label id of every class.

    Raises:
      InputError: a class is none of Cityscapes'.
    """
    foreign = [name for name in label_space.names if name not in CITYSCAPES_LABEL_IDS]
    if foreign:
        raise InputError(
            f"label space {label_space.name!r} has classes that Cityscapes lacks: {', '.join(foreign)}; "
            f"a submission takes {', '.join(CITYSCAPES_LABEL_IDS)}"
        )
    return np.array([CITYSCAPES_LABEL_IDS[name] for name in label_space.names], np.uint8)


def file_name(picture: str) -> str:
    """Returns the name of the prediction for a picture such as aachen/aachen_000000_000019_leftImg8bit.png.

    Raises:
      InputError: the picture is not named as Cityscapes names them.
    """
    match = _IMAGE_NAME.search(picture)
    if not match:
        raise InputError(f"{picture} is not named CITY_SEQUENCE_FRAME_leftImg8bit.png: a submission needs such names")
    return f"{match['frame']}_pred_labelIds.png"


def write_submission(
    predictor: Predictor, label_space: LabelSpace, folder: str, names: Iterable[str], output: str
) -> Iterator[str]:
    """Writes a PNG of label ids for every picture, each whole or not at all, and yields the picture's name.

    Args:
      predictor: the segmenter.
      label_space: its classes, each one of Cityscapes'.
      folder: where the pictures are.
      names: of the pictures, relative to `folder`.
      output: gets CITY_SEQUENCE_FRAME_pred_labelIds.png.

    Raises:
      InputError: a class or a name is not Cityscapes', or a picture cannot be read.
    """
    ids = label_ids(label_space)
    outputs = {name: os.path.join(output, file_name(name)) for name in names}
    files.make_folder(output)
    for name, path in outputs.items():
        class_map = predictor(read_picture(os.path.join(folder, name)))
        files.write_atomically(path, images.encode_png(ids[class_map]))
        yield name
