"""What a served model computes: the three signatures, from pictures or files to class maps, all in one graph."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from fada_tf.data.labels import LabelSpace
from fada_tf.data.tfrecord import decode_image
from fada_tf.data.transforms import resize_image
from fada_tf.evaluation.views import SINGLE_VIEW, Views
from fada_tf.export import png
from fada_tf.models.class_maps import Seen
from fada_tf.models.segmenter import Segmenter

DEFAULT = "serving_default"
ENCODED = "encoded"
PROBABILITIES = "probabilities"
IMAGES = "images"
IMAGE_BYTES = "image_bytes"
_JPEG_START = (0xFF, 0xD8, 0xFF)
_PARALLEL_PICTURES = 2  # of different sizes, so that few large ones are in memory at a time
_WINDOWS_AT_ONCE = 4  # enough for GPUs


@dataclass(frozen=True)
class ServingOptions:
    """How a served model works, fixed in its graph.

    Attributes:
      height: rows that pictures are resized to before the model; 0: they keep their own size.
      width: columns, likewise; 0 where the height is.
      views: what the probabilities are averaged over; for each the model computes once.
      max_pixels: of one encoded picture, and of all pictures together in a request of raw ones.
      max_batch: pictures in a request.
    """

    height: int
    width: int
    views: Views = SINGLE_VIEW
    max_pixels: int = 1 << 22
    max_batch: int = 64


class ServedSegmenter:
    """The signatures of a segmenter. All refuse bad input with InvalidArgumentError (INVALID_ARGUMENT on the wire)."""

    def __init__(self, segmenter: Segmenter, label_space: LabelSpace, options: ServingOptions):
        """Sets up the signatures.

        Args:
          segmenter: the model.
          label_space: the classes' colours.
          options: sizes and bounds.
        """
        self.segmenter = segmenter
        self.label_space = label_space
        self.options = options

    def signatures(self) -> dict[str, tuple[Callable[[tf.Tensor], dict[str, tf.Tensor]], tf.TensorSpec]]:
        """Returns the function and the input of every signature, by its name."""
        images = tf.TensorSpec([None, None, None, 3], tf.uint8, IMAGES)
        return {
            DEFAULT: (self.class_maps, images),
            ENCODED: (self.encoded, tf.TensorSpec([None], tf.string, IMAGE_BYTES)),
            PROBABILITIES: (self.probabilities, images),
        }

    def class_maps(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Segments pictures of one size.

        Args:
          images: RGB uint8 [batch, height, width, 3].

        Returns:
          `class_map`, uint8 [batch, height, width].
        """
        images, size = self._checked(images)
        sizes = tf.tile(size[None], [tf.shape(images)[0], 1])
        maps = self._map_pictures(lambda class_map: class_map, self._seen(images), sizes, tf.uint8)
        return {"class_map": maps}

    def probabilities(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the probability of every class; large, so for gRPC only.

        Args:
          images: RGB uint8 [batch, height, width, 3].

        Returns:
          `probabilities`, float32 [batch, height, width, classes].
        """
        images, size = self._checked(images)
        return {"probabilities": self.options.views.probabilities(self.segmenter, self._seen(images), size)}

    def encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Segments JPEG or PNG files, each of its own size.

        Args:
          image_bytes: string [batch], 8-bit greyscale, RGB or palette pictures.

        Returns:
          `mask_png_bytes`, string [batch], PNGs of class ids with the classes' colours as palette, and `height` and
          `width`, int32 [batch], the pictures' sizes.
        """
        with tf.control_dependencies(self._batch_checks(image_bytes)):
            image_bytes = tf.identity(image_bytes)
        palette = self.label_space.palette()[: self.label_space.num_classes]

        def encode(class_map):
            return png.encode_palette_png(class_map, palette)

        def read(data):
            image = self._decode(data)
            return self._resized(image), tf.shape(image)[:2]

        def segment(data):
            image, size = read(data)
            return encode(self._class_map(self._model(image[None]), size)), size

        of_size, of_mask = tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.string)
        if self._one_by_one:
            masks, sizes = self._map(segment, image_bytes, (of_mask, of_size))
        else:
            of_image = tf.TensorSpec([self.options.height, self.options.width, 3], tf.uint8)
            images, sizes = self._map(read, image_bytes, (of_image, of_size))
            masks = self._map_pictures(encode, self._model(images), sizes, tf.string)
        return {"mask_png_bytes": masks, "height": sizes[:, 0], "width": sizes[:, 1]}

    def _batch_checks(self, inputs: tf.Tensor) -> list[tf.Operation]:
        batch, limit = tf.shape(inputs)[0], self.options.max_batch
        return [
            tf.debugging.Assert((batch > 0) & (batch <= limit), [f"pictures in a request: 1 to {limit}, not", batch])
        ]

    def _checked(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape, limit = tf.shape(images, tf.int64), self.options.max_pixels
        pixels = shape[0] * shape[1] * shape[2]
        bound = tf.debugging.Assert(
            (pixels > 0) & (pixels <= limit), [f"pixels in a request: 1 to {limit}, not", pixels]
        )
        with tf.control_dependencies([bound, *self._batch_checks(images)]):
            return tf.identity(images), tf.shape(images)[1:3]

    def _decode(self, data: tf.Tensor) -> tf.Tensor:
        """Returns uint8 [height, width, 3], after a look at the header only: a tiny file can hold a huge picture."""
        padded = tf.strings.join([data, bytes(png.HEADER_BYTES)])
        header = tf.io.decode_raw(tf.strings.substr(padded, 0, png.HEADER_BYTES), tf.uint8)
        is_png = tf.reduce_all(header[: len(png.SIGNATURE)] == list(png.SIGNATURE))
        is_jpeg = tf.reduce_all(header[: len(_JPEG_START)] == list(_JPEG_START))
        check = tf.debugging.Assert(is_png | is_jpeg, ["not a JPEG or PNG file"])
        with tf.control_dependencies([check]):
            shape, bits = tf.cond(
                is_png,
                lambda: png.header_shape(header),
                lambda: (tf.io.extract_jpeg_shape(data, tf.int64), tf.constant(8, tf.int64)),
            )
        # A product could overflow; two factors that are each below the limit cannot.
        limit = self.options.max_pixels
        within = (shape[0] <= limit) & (shape[1] <= limit) & (shape[0] * shape[1] <= limit) & (shape[0] * shape[1] > 0)
        checks = [
            tf.debugging.Assert(within, [f"a picture has 1 to {limit} pixels, not height, width", shape[:2]]),
            tf.debugging.Assert(bits <= 8, ["a picture has 8 bits a channel, not", bits]),
            tf.debugging.Assert(
                (shape[2] == 1) | (shape[2] == 3), ["a picture is RGB or greyscale; channels:", shape[2]]
            ),
        ]
        with tf.control_dependencies(checks):
            return decode_image(tf.identity(data))

    @property
    def _one_by_one(self) -> bool:
        """Whether encoded pictures go through the model one by one: at their own sizes, or by windows of each."""
        return not self.options.height or self.options.views.windows is not None

    def _resized(self, images: tf.Tensor) -> tf.Tensor:
        size = [self.options.height, self.options.width]
        return tf.ensure_shape(resize_image(images, size), [*images.shape[:-3], *size, 3]) if all(size) else images

    def _seen(self, images: tf.Tensor) -> list[Seen]:
        return self._model(self._resized(images))

    def _model(self, images: tf.Tensor) -> list[Seen]:
        return self.options.views.logits(self.segmenter, images, at_once=_WINDOWS_AT_ONCE)

    def _class_map(self, seen: list[Seen], size: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.options.views.class_map(self.segmenter, seen, size)[0], tf.uint8)

    def _map_pictures(self, finish, seen: list[Seen], sizes: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Returns finish(class map, uint8 [height, width]) of every picture, stacked."""

        def of_picture(inputs):
            of_one, size = inputs
            return finish(self._class_map(tf.nest.map_structure(lambda values: values[None], of_one), size))

        return self._map(of_picture, (seen, sizes), dtype)

    def _map(self, function, inputs, signature):
        return tf.map_fn(function, inputs, fn_output_signature=signature, parallel_iterations=_PARALLEL_PICTURES)
