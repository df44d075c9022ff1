"""Encoded images of a request: checked, measured by their headers, decoded. All in the graph, as in `checks`."""

from collections.abc import Callable

import tensorflow as tf

from efficientnet_advprop.export.checks import of_shape, refuse_elements

# 8192 x 8192: more than a camera's sensor has (61 million), and 0.2 GB when decoded. A file of 100 kB can decode to
# gigabytes.
MAX_IMAGE_PIXELS = 2**26

_JPEG, _PNG, _GIF, _BMP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM"
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND"
_EXTENSION, _FRAME = ord("!"), ord(",")
_MOST_GIF_BLOCKS = 2**16  # 16 MB of full ones, a second of counting


def decoded_images(images: tf.Tensor, decode: Callable[[tf.Tensor], tf.Tensor], spec: tf.TensorSpec) -> tf.Tensor:
    """The decoded images, after a check of their format, their end and their number of pixels.

    A larger image is not decoded.

    Args:
        images: string [N].
        decode: gives one image's pixels.
        spec: of its result.

    Returns:
        [N, *spec.shape].
    """
    images = _of_known_format(images)
    number, blank = tf.size(images, tf.int64), tf.zeros(spec.shape, spec.dtype)

    def measured(index: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        pixels = encoded_pixels(image)
        return index, pixels, tf.cond(pixels > MAX_IMAGE_PIXELS, lambda: blank, lambda: decode(image))

    # A decoder's error names no element, and a graph cannot catch it. tf.data can leave the element out, which shows in
    # the indices. One element more is at the end, because a batch of none is an error.
    answers = tf.data.Dataset.from_tensor_slices((tf.range(number), images)).map(measured).ignore_errors()
    answers = answers.concatenate(tf.data.Dataset.from_tensors((number, tf.constant(0, tf.int64), blank)))
    indices, pixels, decoded = answers.batch(number + 1).get_single_element()
    unreadable = indices != tf.range(tf.size(indices, tf.int64))
    decoded = refuse_elements(unreadable, "is damaged: it cannot be decoded", decoded[:-1])
    most = f"{MAX_IMAGE_PIXELS} pixels (all frames of a GIF together, or {_MOST_GIF_BLOCKS} blocks), the most served"
    return refuse_elements(pixels > MAX_IMAGE_PIXELS, f"has more than {most}", decoded)


def encoded_pixels(image: tf.Tensor) -> tf.Tensor:
    """Number of pixels, int64, that the decoder of an image (scalar string) fills, as its header says."""
    by_format = (
        (_JPEG, lambda: _area(tf.io.extract_jpeg_shape(image)[:2])),
        (_PNG, lambda: _area(tf.io.decode_raw(tf.strings.substr(image, 16, 8), tf.int32, little_endian=False))),
        (_BMP, lambda: _area(tf.io.decode_raw(tf.strings.substr(image, 18, 8), tf.int32))),
        (_GIF, lambda: _gif_pixels(image)),
    )
    return tf.case([(_begins(image, magic), pixels) for magic, pixels in by_format], exclusive=True)


def _area(sides: tf.Tensor) -> tf.Tensor:
    """The product of the sides; a BMP whose rows go downwards has a negative height."""
    return tf.reduce_prod(tf.abs(tf.cast(sides, tf.int64)))


def _gif_pixels(image: tf.Tensor) -> tf.Tensor:
    """Pixels of all frames of a GIF, each as large as the largest; more than are served for a GIF of too many blocks.

    The decoder reads every frame, and the size in the file's header bounds none. So all blocks are visited: frames and
    extensions, each with sub-blocks that begin with their length and end with an empty one.
    """
    data = tf.pad(tf.io.decode_raw(image, tf.uint8), [[0, 1]])  # a zero ends what has no end
    last = tf.size(data) - 1

    def byte(place: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(data, tf.minimum(place, last)), tf.int32)

    def table_bytes(flags: tf.Tensor) -> tf.Tensor:
        return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)

    def is_block(place: tf.Tensor, blocks: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
        del sides
        kind = byte(place)
        return tf.logical_or(kind == _EXTENSION, kind == _FRAME) & (blocks < _MOST_GIF_BLOCKS)

    def next_block(place: tf.Tensor, blocks: tf.Tensor, sides: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # The header of a frame: kind, left, top, width, height (2 bytes each), flags, a table of colours, 1 byte.
        is_frame = byte(place) == _FRAME
        width, height = (byte(place + low) + 256 * byte(place + low + 1) for low in (5, 7))
        largest = tf.stack([sides[0] + 1, tf.maximum(sides[1], width), tf.maximum(sides[2], height)])
        place += tf.where(is_frame, 11 + table_bytes(byte(place + 9)), 2)
        place, blocks = tf.while_loop(
            lambda place, blocks: tf.logical_and(byte(place) > 0, blocks < _MOST_GIF_BLOCKS),
            lambda place, blocks: (place + 1 + byte(place), blocks + 1),
            (place, blocks),
        )
        return place + 1, blocks + 1, tf.where(is_frame, largest, sides)

    first_block = 13 + table_bytes(byte(tf.constant(10)))
    _, blocks, sides = tf.while_loop(is_block, next_block, (first_block, 0, tf.zeros(3, tf.int32)))
    return tf.where(blocks < _MOST_GIF_BLOCKS, _area(sides), MAX_IMAGE_PIXELS + 1)


def _of_known_format(images: tf.Tensor) -> tf.Tensor:
    """The encoded images, after a check of their first bytes and their end marker."""
    images = of_shape(images, "[N]")
    is_jpeg, is_png, is_gif, is_bmp = (_begins(images, magic) for magic in (_JPEG, _PNG, _GIF, _BMP))
    unknown = tf.logical_not(is_jpeg | is_png | is_gif | is_bmp)  # [N]
    images = refuse_elements(unknown, "is not a JPEG, PNG, GIF or BMP", images)
    truncated = (is_jpeg & ~_contains(images, _JPEG_END)) | (is_png & ~_contains(images, _PNG_END))
    return refuse_elements(truncated, "is truncated: it has no end marker", images)


def _begins(images: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(images, 0, len(magic)), magic)


def _contains(images: tf.Tensor, marker: bytes) -> tf.Tensor:
    """Whether each string contains the marker; regular expressions would need UTF-8."""
    return tf.strings.split(images, sep=marker).row_lengths() > 1
