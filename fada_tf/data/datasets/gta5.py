"""GTA5, "Playing for Data" (Richter et al., ECCV 2016): images/NNNNN.png with palette labels/NNNNN.png, Cityscapes ids.

The official download has 24,966 pairs of 1914x1052 pixels; 25 pairs are missing from some copies, and the label of two
frames (15188 and 17705) has another size than the image. Such pairs are reported, and left out if that is asked for.
"""

from fada_tf.data import files, images
from fada_tf.data.conditions import SPLIT
from fada_tf.data.datasets import base
from fada_tf.data.label_files import LabelFiles
from fada_tf.data.labels import CITYSCAPES19, GTA5_ID_MAP
from fada_tf.errors import InputError

LABELS = LabelFiles(CITYSCAPES19, GTA5_ID_MAP, "GTA5 does not have (it has 0 to 34)")
SPLIT_FILES = ("split.mat", "read_mapping/split.mat", "mapping/split.mat")  # where users put the authors' split
SPLIT_KEYS = {"train": "trainIds", "val": "valIds", "test": "testIds"}


def find(root: str, split: str = "all") -> base.DataSet:
    """Finds the pairs.

    Args:
      root: the folder that holds `images` and `labels`.
      split: 'all', what the paper trains on, or 'train', 'val' or 'test' of the authors' split.mat.
    """
    base.check_choice("GTA5", "split", split, ("all", *SPLIT_KEYS))
    images_folder, labels_folder = files.join(root, "images"), files.join(root, "labels")
    dataset = base.pair_up(
        base.paths_by_key(images_folder, images.SUFFIXES),
        base.paths_by_key(labels_folder, (images.LABEL_SUFFIX,)),
        images_folder,
        labels_folder,
        LABELS,
    )
    if split == "all":
        return dataset
    paths = [files.join(root, name) for name in SPLIT_FILES if files.exists(files.join(root, name))]
    if not paths:
        raise InputError(f"split {split!r} of GTA5 needs the authors' split.mat in {root}: without it use --split=all")
    with files.open_binary(paths[0]) as file:
        from scipy import io  # only this file format needs it

        numbers = io.loadmat(file)[SPLIT_KEYS[split]].ravel()
    dataset = base.keep_listed(dataset, [f"{number:05d}" for number in numbers], paths[0])
    return base.with_conditions(dataset, lambda name: {SPLIT: split})
