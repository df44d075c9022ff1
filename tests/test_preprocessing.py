"""Crops, resizing and decoding of one image, against arithmetic done here in NumPy and against Pillow."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data import preprocess_eval, preprocess_train
from efficientnet_advprop.data.preprocessing import center_window, crop_padding_px, distorted_window
from efficientnet_advprop.recipes import RecipeError
from tests.real_images import IMAGENET_SAMPLE, needs_imagenet_sample

SIDES = st.integers(40, 3000)
few_examples = hypothesis.settings(deadline=None, max_examples=60)


def bicubic_weights(in_size, out_size):
    """Rows of TF1's bicubic: Keys' kernel (a = -0.75, steps of 1/1024), no half-pixel centres, clamped edges."""
    rows = np.zeros((out_size, in_size))
    for out, row in enumerate(rows):
        source = np.float32(out) * (np.float32(in_size) / np.float32(out_size))
        start = int(np.floor(source))
        fraction = np.rint((source - start) * 1024) / 1024
        for tap in range(-1, 3):
            x, a = abs(fraction - tap), -0.75
            near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
            row[np.clip(start + tap, 0, in_size - 1)] += near if x <= 1 else far
    return rows


def reference(pixels, image_size, eval_crop):
    height, width = pixels.shape[:2]
    if eval_crop != "none":
        padding = {"pad32": 32, "0.875": round(image_size * (1 / 0.875 - 1))}[eval_crop]
        side = int(np.float32(image_size / (image_size + padding)) * np.float32(min(height, width)))
        top, left = ((height - side) + 1) // 2, ((width - side) + 1) // 2
        pixels = pixels[top : top + side, left : left + side]
    rows, columns = (bicubic_weights(size, image_size) for size in pixels.shape[:2])
    return np.einsum("yi,xj,ijc->yxc", rows, columns, pixels.astype(np.float64), optimize=True)


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def smooth(height, width):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 255 // height, x * 255 // width, (x + y) * 255 // (height + width)], -1).astype(np.uint8)


@pytest.mark.parametrize("eval_crop", ["pad32", "0.875", "none"])
@pytest.mark.parametrize(
    ("height", "width", "image_size"), [(97, 131, 64), (131, 96, 80), (50, 50, 100), (600, 301, 224)]
)
def test_evaluation_is_the_official_crop_and_tf1_bicubic(height, width, image_size, eval_crop):
    pixels = noise(height, width)
    image = preprocess_eval(tf.io.encode_png(pixels), image_size, eval_crop)
    assert image.dtype == tf.float32 and image.shape == (image_size, image_size, 3)
    # float32 sums of 16 products of size 255 against float64 ones.
    np.testing.assert_allclose(image, reference(pixels, image_size, eval_crop), atol=2e-2)


@pytest.mark.parametrize("eval_crop", ["pad32", "none"])
def test_a_cropped_jpeg_equals_its_cropped_pixels(eval_crop):
    encoded = tf.io.encode_jpeg(smooth(120, 150), quality=95)
    pixels = tf.io.decode_jpeg(encoded).numpy()
    image = preprocess_eval(encoded, 64, eval_crop)
    np.testing.assert_allclose(image, reference(pixels, 64, eval_crop), atol=2e-2)


def test_decoded_images_are_treated_like_encoded_ones():
    pixels, seed = noise(90, 70), [1, 2]
    encoded = tf.io.encode_png(pixels)
    np.testing.assert_array_equal(preprocess_eval(tf.constant(pixels), 48), preprocess_eval(encoded, 48))
    np.testing.assert_array_equal(preprocess_train(tf.constant(pixels), 48, seed), preprocess_train(encoded, 48, seed))


@pytest.mark.parametrize("encode", [tf.io.encode_jpeg, tf.io.encode_png])
@pytest.mark.parametrize("train_crop", ["distorted_box", "pad_and_crop", "none"])
def test_grey_images_get_three_equal_channels(encode, train_crop):
    encoded = encode(noise(60, 80, channels=1))
    for image in (preprocess_eval(encoded, 32), preprocess_train(encoded, 32, [0, 1], train_crop)):
        assert image.shape == (32, 32, 3)
        np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_evaluation_overshoots_and_training_is_clipped():
    encoded = tf.io.encode_png(np.kron(noise(12, 12) // 128 * 255, np.ones((5, 5, 1), np.uint8)))
    evaluated = preprocess_eval(encoded, 96)
    assert tf.reduce_min(evaluated) < 0 and tf.reduce_max(evaluated) > 255
    for train_crop in ("distorted_box", "pad_and_crop", "none"):
        trained = preprocess_train(encoded, 96, [0, 0], train_crop)
        assert tf.reduce_min(trained) == 0 and tf.reduce_max(trained) == 255


def test_paddings_of_the_two_official_crops():
    assert [crop_padding_px(size, "pad32") for size in (224, 600)] == [32, 32]
    assert [crop_padding_px(size, "0.875") for size in (224, 600)] == [32, 86]


@few_examples
@hypothesis.given(SIDES, SIDES, st.sampled_from([32, 224, 240, 300, 456, 600]), st.sampled_from(["pad32", "0.875"]))
def test_the_central_window_is_a_centred_square_inside_the_image(height, width, image_size, eval_crop):
    padding = crop_padding_px(image_size, eval_crop)
    top, left, window_height, window_width = center_window(tf.constant([height, width]), image_size, padding).numpy()
    assert window_height == window_width > 0
    assert abs(window_height - min(height, width) * image_size / (image_size + padding)) < 1 + 1e-3
    for begin, side in ((top, height), (left, width)):
        end = side - begin - window_height
        assert end >= 0 and begin - end in (0, 1)


@few_examples
@hypothesis.given(st.integers(100, 3000), st.integers(100, 3000), st.integers(0, 2**31 - 1))
def test_the_distorted_window_lies_inside_the_image(height, width, seed):
    shape = tf.constant([height, width])
    window = distorted_window(shape, 224, tf.constant([seed, 0])).numpy()
    top, left, window_height, window_width = window
    assert top >= 0 and left >= 0 and top + window_height <= height and left + window_width <= width
    if (window != center_window(shape, 224, 32).numpy()).any():
        assert 0.07 * height * width <= window_height * window_width < height * width
        # Sides are rounded to whole pixels.
        assert 0.7 <= window_width / window_height <= 1.4


def test_an_image_without_a_fitting_window_gets_the_central_crop():
    pixels = smooth(10, 1000)  # 8 % of the area are 800 px, an aspect of 4/3 allows 133
    for seed in range(3):
        image = preprocess_train(tf.constant(pixels), 32, [seed, 0], flip=False)
        np.testing.assert_allclose(image, np.clip(preprocess_eval(tf.constant(pixels), 32, "pad32"), 0, 255))


def test_windows_cover_small_and_large_fractions_evenly():
    shape = tf.constant([400, 400])
    windows = tf.map_fn(lambda seed: distorted_window(shape, 224, tf.stack([seed, 7])), tf.range(400)).numpy()
    shares = windows[:, 2] * windows[:, 3] / 400**2
    assert 0.08 <= shares.min() < 0.12 and shares.max() > 0.85
    # Uniform in [0.08, 1], but for large windows of an aspect that does not fit.
    assert 0.42 < shares.mean() < 0.56


@pytest.mark.parametrize("train_crop", ["distorted_box", "pad_and_crop"])
def test_the_seed_alone_decides_the_image(train_crop):
    encoded = tf.io.encode_png(noise(64, 64))
    images = [preprocess_train(encoded, 32, [seed, 0], train_crop).numpy() for seed in (5, 5, 6)]
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()


def test_half_of_the_images_are_flipped():
    pixels = tf.constant(smooth(32, 32))
    images = [preprocess_train(pixels, 32, [seed, 0], "none").numpy() for seed in range(100)]
    mirrored = [np.array_equal(image, pixels[:, ::-1]) for image in images]
    assert all(flag or np.array_equal(image, pixels) for flag, image in zip(mirrored, images, strict=True))
    assert 30 < sum(mirrored) < 70
    unflipped = preprocess_train(pixels, 32, [mirrored.index(True), 0], "none", flip=False)
    np.testing.assert_array_equal(unflipped, pixels)


def test_pad_and_crop_shifts_by_up_to_an_eighth():
    pixels = noise(32, 32)
    padded = np.pad(pixels, ((4, 4), (4, 4), (0, 0)), mode="edge")
    windows = {padded[y : y + 32, x : x + 32].tobytes(): (y, x) for y in range(9) for x in range(9)}
    shifts = set()
    for seed in range(60):
        image = preprocess_train(tf.constant(pixels), 32, [seed, 1], "pad_and_crop", flip=False)
        shifts.add(windows[image.numpy().astype(np.uint8).tobytes()])
    assert {y for y, _ in shifts} == {x for _, x in shifts} == set(range(9))


def pil_bilinear(pixels, image_size):
    """Pillow's resize of each channel in float32: of integers it rounds after either direction."""
    image = pytest.importorskip("PIL.Image")
    channels = (image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(pixels, -1, 0))
    return np.stack([channel.resize((image_size, image_size), image.Resampling.BILINEAR) for channel in channels], -1)


@pytest.mark.parametrize(("height", "width", "image_size"), [(97, 131, 64), (600, 301, 224), (50, 40, 100)])
def test_bilinear_is_pils(height, width, image_size):
    pixels = noise(height, width)
    encoded = tf.io.encode_png(pixels)
    expected = pil_bilinear(pixels, image_size)
    for image in (
        preprocess_eval(encoded, image_size, "none", resize="bilinear"),
        preprocess_train(encoded, image_size, [0, 0], "none", flip=False, resize="bilinear"),
    ):
        assert image.dtype == tf.float32 and image.shape == (image_size, image_size, 3)
        np.testing.assert_allclose(image, expected, atol=1e-2)
    top, left, side, _ = center_window(tf.constant([height, width]), image_size, 32).numpy()
    expected = pil_bilinear(pixels[top : top + side, left : left + side], image_size)
    np.testing.assert_allclose(preprocess_eval(encoded, image_size, resize="bilinear"), expected, atol=1e-2)


@pytest.mark.parametrize("train_crop", ["distorted_box", "pad_and_crop"])
def test_training_crops_are_the_same_under_either_resize(train_crop):
    encoded = tf.io.encode_png(smooth(120, 150))
    bicubic, bilinear = (
        preprocess_train(encoded, 64, [3, 0], train_crop, resize=resize).numpy() for resize in ("bicubic", "bilinear")
    )
    assert 0 < np.abs(bicubic - bilinear).max() < 6  # half a pixel of a smooth image


def test_unknown_crops_and_resizes_are_refused():
    image = tf.constant(noise(40, 40))
    for preprocess in (preprocess_eval, lambda *arguments, **resize: preprocess_train(*arguments, [0, 0], **resize)):
        with pytest.raises(RecipeError, match=r"unknown resize 'area'; known: bicubic, bilinear"):
            preprocess(image, 32, resize="area")
    with pytest.raises(RecipeError, match=r"unknown eval_crop 'center'; known: pad32, 0.875, none"):
        preprocess_eval(image, 32, "center")
    with pytest.raises(RecipeError, match=r"unknown train_crop 'center'; known: distorted_box, pad_and_crop, none"):
        preprocess_train(image, 32, [0, 0], "center")


@needs_imagenet_sample
def test_real_images():
    for path in sorted(IMAGENET_SAMPLE.glob("*/*.JPEG"))[::200]:
        encoded = path.read_bytes()
        pixels = tf.io.decode_jpeg(encoded, channels=3).numpy()
        image = preprocess_eval(tf.constant(encoded), 224)
        np.testing.assert_allclose(image, reference(pixels, 224, "pad32"), atol=2e-2)
        assert preprocess_train(tf.constant(encoded), 224, [0, 0]).shape == (224, 224, 3)
