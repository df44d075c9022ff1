"""Encoded images of a request: pixels counted from the header, too large and damaged ones refused by their element."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from efficientnet_advprop.data import preprocess_eval
from efficientnet_advprop.export.encoded_images import MAX_IMAGE_PIXELS, decoded_images, encoded_pixels

SIZE = 16


def encoded(file_format: str, mode: str = "RGB", frames: int = 1, **options) -> bytes:
    """An image of 60 x 40 pixels, as Pillow writes it."""
    pixels = np.random.default_rng(0).integers(0, 256, (frames, 40, 60, 3), np.uint8)
    first, *others = (Image.fromarray(frame).convert(mode) for frame in pixels)
    file = io.BytesIO()
    first.save(file, file_format, **options, **({"save_all": True, "append_images": others} if others else {}))
    return file.getvalue()


def changed(image: bytes, place: int, new: bytes) -> bytes:
    return image[:place] + new + image[place + len(new) :]


def gif_of_blocks(blocks: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + blocks + b";"


PNG, JPEG, BMP = encoded("PNG"), encoded("JPEG"), encoded("BMP")
SIDES_OF_JPEG = JPEG.index(b"\xff\xc0") + 5
HUGE_FRAME = b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0x81) + bytes(12) + b"\2\1a\0"
TOO_LARGE = {
    "png": changed(PNG, 16, struct.pack(">ii", 10_000, 10_000)),
    "jpeg": changed(JPEG, SIDES_OF_JPEG, struct.pack(">HH", 10_000, 10_000)),
    "bmp": changed(BMP, 18, struct.pack("<ii", 10_000, -10_000)),
    "gif": gif_of_blocks(HUGE_FRAME),
    "gif, second frame": gif_of_blocks(
        b"!\xfe\3abc\2de\0," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x4c\1\0" + HUGE_FRAME
    ),
    "gif of many blocks": gif_of_blocks(b"!\xfe\0" * 70_000 + HUGE_FRAME),
}
DAMAGED = {
    "png": changed(PNG, 200, bytes(50)),
    "png without a header": b"\x89PNG\r\n\x1a\nIEND",
    "jpeg": JPEG[: SIDES_OF_JPEG - 5] + b"\xff\xd9",
    "bmp": BMP[:300],
    "gif": encoded("GIF")[:40],
}


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
def decode_request(images):
    spec = tf.TensorSpec([SIZE, SIZE, 3], tf.float32)
    return decoded_images(images, lambda image: preprocess_eval(image, SIZE), spec)


@pytest.mark.parametrize(
    ("image", "frames"),
    [
        (PNG, 1),
        (encoded("PNG", "P"), 1),
        (JPEG, 1),
        (encoded("JPEG", "CMYK", progressive=True), 1),
        (encoded("JPEG", "L", exif=bytes(60_000)), 1),
        (BMP, 1),
        (changed(BMP, 22, struct.pack("<i", -40)), 1),
        (encoded("GIF", "L"), 1),
        (encoded("GIF", frames=3, comment=b"c" * 1000), 3),
    ],
)
def test_pixels_are_counted_without_decoding(image, frames):
    assert tf.io.decode_image(image, channels=3, expand_animations=False).shape == (40, 60, 3)
    assert encoded_pixels(tf.constant(image)) == 40 * 60 * frames


def test_a_request_is_decoded_as_in_evaluation():
    images = [PNG, JPEG, encoded("GIF", frames=2), PNG]
    expected = [preprocess_eval(tf.constant(image), SIZE) for image in images]
    np.testing.assert_array_equal(decode_request(tf.constant(images)), expected)


@pytest.mark.parametrize("image", TOO_LARGE.values(), ids=TOO_LARGE)
def test_an_image_of_too_many_pixels_is_refused_by_its_header(image):
    message = f"element 2 of images has more than {MAX_IMAGE_PIXELS} pixels"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode_request(tf.constant([PNG, JPEG, image]))


@pytest.mark.parametrize("image", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_image_is_named(image):
    with pytest.raises(tf.errors.InvalidArgumentError, match="element 1 of images is damaged: it cannot be decoded"):
        decode_request(tf.constant([PNG, image, image]))
