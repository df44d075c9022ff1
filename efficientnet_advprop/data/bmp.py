"""BMP images: those that TensorFlow reads wrongly without a word are read rightly or refused."""

import tensorflow as tf

# Places in the file: the offset of the pixels, the size of the second header, which begins at 14, and its fields.
_PIXELS, _HEADER_SIZE, _BITS, _COMPRESSION, _MASKS = 10, 14, 28, 30, 54
_UNCOMPRESSED, _BITFIELDS = 0, 3
_MASKS_BGR = bytes.fromhex("0000ff00 00ff0000 ff000000")  # of red, green and blue, as the decoder assumes


def is_bmp(image: tf.Tensor) -> tf.Tensor:
    """Whether these bytes begin as a BMP's, bool."""
    return tf.equal(tf.strings.substr(image, 0, 2), b"BM")


def decode_bmp(image: tf.Tensor) -> tf.Tensor:
    """Pixels uint8 [H, W, 3] of an uncompressed BMP with 8, 24 or 32 bits a pixel.

    TensorFlow's decoder takes 8 bits for grey, although they are indices of a palette, and ignores compression and
    colour masks. It refuses other depths.

    Args:
        image: encoded, scalar string.

    Raises:
        tf.errors.InvalidArgumentError: for all others.
    """
    compression = _number(image, _COMPRESSION)
    usual_masks = tf.equal(tf.strings.substr(image, _MASKS, len(_MASKS_BGR)), _MASKS_BGR)
    readable = tf.equal(compression, _UNCOMPRESSED) | (tf.equal(compression, _BITFIELDS) & usual_masks)
    image = _require(readable, "a BMP of a kind that is not read: compressed, with other colour masks, or OS/2", image)
    pixels = tf.io.decode_image(image, channels=3, expand_animations=False)
    bits = _number(image, _BITS) & 0xFFFF
    return tf.cond(tf.equal(bits, 8), lambda: _with_palette(image, pixels[..., 0]), lambda: pixels)


def _with_palette(image: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """The colours uint8 [H, W, 3] of indices [H, W]; the palette lies between header and pixels, 4 bytes a colour."""
    start = 14 + _number(image, _HEADER_SIZE)
    size = tf.clip_by_value((_number(image, _PIXELS) - start) // 4, 0, 256)
    palette = tf.reshape(tf.io.decode_raw(tf.strings.substr(image, start, 4 * size), tf.uint8), [-1, 4])
    colours = palette[:, 2::-1]  # blue, green, red, 0
    indices = tf.cast(indices, tf.int32)
    return tf.gather(colours, _require(tf.reduce_max(indices) < size, "a BMP whose palette lacks a colour", indices))


def _number(image: tf.Tensor, place: int) -> tf.Tensor:
    return tf.io.decode_raw(tf.strings.substr(image, place, 4), tf.int32)[0]


def _require(condition: tf.Tensor, otherwise: str, value: tf.Tensor) -> tf.Tensor:
    """The value; an error if the condition does not hold. The raw op, because its wrapper has another message."""
    with tf.control_dependencies([tf.raw_ops.Assert(condition=condition, data=[otherwise], summarize=1)]):
        return tf.identity(value)
