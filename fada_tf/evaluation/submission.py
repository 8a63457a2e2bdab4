"""Predictions as the servers of data sets read them: PNGs of label ids or train ids, named as each wants them."""

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from fada_tf.data import files, images
from fada_tf.data.ahead import map_ahead
from fada_tf.data.labels import CITYSCAPES19, CITYSCAPES_LABEL_IDS, LabelSpace
from fada_tf.errors import InputError
from fada_tf.evaluation.prediction import Segments, result_names, segment_files


@dataclass(frozen=True)
class Server:
    """What a server takes.

    Attributes:
      ids: of each class, by its name.
      pictures: a pattern of pictures' names, whose group `kept` becomes part of the prediction's.
      names: how pictures are named, for messages.
      ending: what follows in the prediction's name.
      folders: those that each prediction is put into.
      confidence: the folder of confidences, 16-bit PNGs in which 65,535 is 1; "" where none are asked for.
    """

    ids: dict[str, int]
    pictures: str
    names: str
    ending: str
    folders: tuple[str, ...] = ("",)
    confidence: str = ""


_TRAIN_IDS = {name: train_id for train_id, name in enumerate(CITYSCAPES19.names)}
_ADVERSE = Server(
    _TRAIN_IDS, r"(?P<kept>[^/]+_frame_\d+_rgb_anon)\.png$", "RECORDING_frame_NUMBER_rgb_anon.png", ".png"
)
SERVERS = {
    "cityscapes": Server(
        CITYSCAPES_LABEL_IDS,
        r"(?P<kept>[^_/]+_\d+_\d+)(_leftImg8bit)?\.[a-z]+$",
        "CITY_SEQUENCE_FRAME_leftImg8bit.png",
        "_pred_labelIds.png",
    ),
    "acdc": _ADVERSE,
    # It scores invalid pixels, too; where predictions name none and confidence is whole, both scores are the mean IoU.
    "dark_zurich": replace(_ADVERSE, folders=("labelTrainIds", "labelTrainIds_invalid"), confidence="confidence"),
    "muses": Server(
        _TRAIN_IDS,
        r"(?P<kept>REC\d+_frame_\d+)(_frame_camera)?\.png$",
        "RECNUMBER_frame_NUMBER_frame_camera.png",
        ".png",
    ),
}


def label_ids(label_space: LabelSpace, server: str = "cityscapes") -> np.ndarray:
    """Returns [K] uint8, a server's id of every class.

    Raises:
      InputError: a class is none of Cityscapes'.
    """
    ids = SERVERS[server].ids
    foreign = [name for name in label_space.names if name not in ids]
    if foreign:
        raise InputError(
            f"label space {label_space.name!r} has classes that Cityscapes lacks: {', '.join(foreign)}; "
            f"a submission takes {', '.join(ids)}"
        )
    return np.array([ids[name] for name in label_space.names], np.uint8)


def file_name(picture: str, server: str = "cityscapes") -> str:
    """Returns the name of the prediction for a picture such as aachen/aachen_000000_000019_leftImg8bit.png.

    Raises:
      InputError: the picture is not named as the data set's are.
    """
    takes = SERVERS[server]
    match = re.search(takes.pictures, picture, re.IGNORECASE)
    if not match:
        raise InputError(f"{picture} is not named {takes.names}: a submission to {server} needs such names")
    return match["kept"] + takes.ending


def write_submission(
    predictor: Segments,
    label_space: LabelSpace,
    folder: str,
    names: Iterable[str],
    output: str,
    bad: Callable[[InputError], object] | None = None,
    server: str = "cityscapes",
) -> Iterator[str]:
    """Writes a PNG of a server's ids for every picture, each whole or not at all, and yields the picture's name.

    Args:
      predictor: the segmenter.
      label_space: its classes, each one of Cityscapes'.
      folder: where the pictures are.
      names: of the pictures, relative to `folder`.
      output: gets CITY_SEQUENCE_FRAME_pred_labelIds.png, or what another server wants, in its folders.
      bad: see `segment_files`.
      server: one of `SERVERS`.

    Raises:
      InputError: a class is not Cityscapes' or a name not the data set's, or two pictures are of one frame: nothing is
        written. A picture cannot be read: the ones before that are written.
    """
    ids, results = label_ids(label_space, server), result_names(names, functools.partial(file_name, server=server))
    wanted = SERVERS[server]
    for folder_name in (*wanted.folders, wanted.confidence):
        files.make_folder(os.path.join(output, folder_name))

    def write(segmented: tuple[str, np.ndarray, np.ndarray]) -> str:
        name, _, class_map = segmented
        prediction = images.encode_png(ids[class_map])
        contents = dict.fromkeys(wanted.folders, prediction)
        if wanted.confidence:
            contents[wanted.confidence] = images.encode_png(np.full(class_map.shape, 65_535, np.uint16))
        for folder_name, content in contents.items():
            files.write_atomically(os.path.join(output, folder_name, results[name]), content)
        return name

    yield from map_ahead(write, segment_files(predictor, folder, results, bad))
