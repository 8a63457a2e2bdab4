"""Predictions as Cityscapes' own evaluation and its server read them: PNGs of label ids, named by city and frame."""

import os
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from fada_tf.data import files, images
from fada_tf.data.ahead import map_ahead
from fada_tf.data.labels import CITYSCAPES_LABEL_IDS, LabelSpace
from fada_tf.errors import InputError
from fada_tf.evaluation.prediction import Segments, result_names, segment_files

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
    predictor: Segments,
    label_space: LabelSpace,
    folder: str,
    names: Iterable[str],
    output: str,
    bad: Callable[[InputError], object] | None = None,
) -> Iterator[str]:
    """Writes a PNG of label ids for every picture, each whole or not at all, and yields the picture's name.

    Args:
      predictor: the segmenter.
      label_space: its classes, each one of Cityscapes'.
      folder: where the pictures are.
      names: of the pictures, relative to `folder`.
      output: gets CITY_SEQUENCE_FRAME_pred_labelIds.png.
      bad: see `segment_files`.

    Raises:
      InputError: a class or a name is not Cityscapes', or two pictures are of one frame: nothing is written. A picture
        cannot be read: the ones before that are written.
    """
    ids, results = label_ids(label_space), result_names(names, file_name)
    files.make_folder(output)

    def write(segmented: tuple[str, np.ndarray, np.ndarray]) -> str:
        name, _, class_map = segmented
        files.write_atomically(os.path.join(output, results[name]), images.encode_png(ids[class_map]))
        return name

    yield from map_ahead(write, segment_files(predictor, folder, results, bad))
