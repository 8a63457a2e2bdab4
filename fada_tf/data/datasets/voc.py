"""Pascal VOC's masks (Everingham et al., IJCV 2010), and those of tools that write its layout with a labelmap.txt.

Images are JPEGImages/NAME.jpg, masks SegmentationClass/NAME.png, in the palette or the colours of the classes, splits
ImageSets/Segmentation/SPLIT.txt. labelmap.txt has lines "label:red,green,blue::", as CVAT writes it for its
"Segmentation mask"; without it, the classes are VOC's own.
"""

from functools import partial

from fada_tf.data import class_files, files
from fada_tf.data import images as image_files
from fada_tf.data.class_files import Color, voc_color
from fada_tf.data.datasets import base
from fada_tf.errors import InputError

LABELMAP = "labelmap.txt"
NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
BORDER, BORDER_ID = "void", 255  # what VOC's masks have around objects


def find(root: str, split: str | None = None, classes: str | None = None, images: str | None = None) -> base.DataSet:
    """Pairs masks and images of one name.

    Args:
      root: the folder that holds SegmentationClass, such as VOCdevkit/VOC2012.
      split: a file in ImageSets/Segmentation, such as 'train' or 'default'; None for all masks.
      classes: the class file that says what the names of classes mean.
      images: the folder of images; None for JPEGImages.
    """
    images_folder, labels_folder = images or files.join(root, "JPEGImages"), files.join(root, "SegmentationClass")
    masks = base.paths_by_key(labels_folder, (image_files.LABEL_SUFFIX,))
    paths = base.paths_by_key(images_folder, image_files.SUFFIXES)  # most of VOC's have no mask
    read = partial(read_label, named=tuple(names_of_classes(root).items()))
    with_masks = {key: path for key, path in paths.items() if key in masks}
    dataset = base.pair_up(with_masks, masks, images_folder, labels_folder, class_files.labels_by_name(classes, read))
    if split is None:
        return dataset
    listed = files.join(root, "ImageSets/Segmentation", f"{split}.txt")
    return base.keep_listed(dataset, base.read_list(listed), listed)


def names_of_classes(root: str) -> dict[str, Color | None]:
    """Returns the names of classes with their colours, in the order of their ids.

    Raises:
      InputError: labelmap.txt cannot be read.
    """
    path = files.join(root, LABELMAP)
    if not files.exists(path):
        return {name: voc_color(i) for i, name in [*enumerate(NAMES), (BORDER_ID, BORDER)]}
    named: dict[str, Color | None] = {}
    for line in base.read_list(path):
        if line.startswith("#"):
            continue
        try:
            name, color, *_ = line.split(":")
            red, green, blue = (int(part) for part in color.split(","))
            bytes((red, green, blue))
        except ValueError as error:
            raise InputError(f"{path} has the line {line!r}, where 'label:red,green,blue::' is due") from error
        named[name] = red, green, blue
    return named


def read_label(data: bytes, named: tuple[tuple[str, Color | None], ...]) -> image_files.LabelPixels:
    """Reads a mask: by its colours if all of them are known, or else by the places of classes.

    Args:
      data: the PNG.
      named: names of classes, with their colours.

    Raises:
      InputError: it cannot be read.
    """
    pixels = image_files.read_label(data)
    used = set(pixels.values.ravel().tolist())
    if pixels.colors is not None:
        by_color = {color: name for name, color in named}
        colors = [tuple(color) for color in pixels.colors.tolist()]
        if not pixels.are_ids or all(colors[value] in by_color for value in used):
            called = tuple(by_color.get(color, f"of colour {color}") for color in colors)
            return image_files.LabelPixels(pixels.values, are_ids=False, names=called)
    by_id = {BORDER_ID: BORDER} | {i: name for i, (name, _) in enumerate(named) if name != BORDER}
    called = tuple(by_id.get(value, f"of id {value}") for value in range(max(used) + 1))
    return image_files.LabelPixels(pixels.values, are_ids=False, names=called)
