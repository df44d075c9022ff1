"""Unusual images are decoded correctly; images that cannot be read are named, counted and left out."""

import io
import json
import re
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from efficientnet_advprop.data import (
    bad_image_in,
    bad_images,
    eval_dataset,
    find_source,
    preprocess_eval,
    reason_without_ops,
    train_dataset,
)
from efficientnet_advprop.data.bad_images import read_or_mark, replace_bad_images
from efficientnet_advprop.data.preprocessing import decode
from efficientnet_advprop.data.shards import damaged_records
from efficientnet_advprop.evaluation import PredictionCollector, through_branches
from efficientnet_advprop.modes.check_data import check_data
from efficientnet_advprop.recipes import InputOptions, named_recipe, override
from tests.command_line import run, start_main
from tests.small import one_cpu, small_model

SKIP = InputOptions(bad_images="skip")


def make_image(mode="RGB", size=(24, 24)):
    blocks = np.random.default_rng(0).integers(0, 256, (3, 3, 3), np.uint8)
    image = Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)
    return image.convert(mode)


def encoded(image, kind="JPEG"):
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (encoded(make_image("L")), "L"),
        (encoded(make_image("CMYK")), "RGB"),
        (encoded(make_image(), "PNG"), "RGB"),
        (encoded(make_image("P"), "PNG"), "P"),
        (encoded(make_image("LA"), "PNG"), "L"),
        (encoded(make_image("RGBA"), "PNG"), "RGB"),
        (encoded(make_image(), "GIF"), "RGB"),
        (encoded(make_image(), "BMP"), "RGB"),
        (tf.io.encode_png(np.asarray(make_image(), np.uint16) * 257).numpy(), "RGB"),
    ],
    ids=["grey jpeg", "cmyk jpeg", "png", "palette png", "grey alpha png", "alpha png", "gif", "bmp", "16-bit png"],
)
def test_unusual_images_are_decoded_correctly(content, mode):
    image = preprocess_eval(tf.constant(content), 24, "none")
    expected = np.asarray(make_image(mode).convert("RGB"), np.float32)
    assert np.abs(image - expected).max() <= 6  # JPEG's loss


def bmp(bits, pixels, palette=b"", compression=0, masks=b"", height=24):
    """A BMP of 24 x 24 pixels."""
    start = 54 + len(masks) + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, 24, height, 1, bits, compression, len(pixels), 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + masks + palette + pixels


def rows_of(mode, raw, height=24):
    """The pixels of a BMP, the last row first unless the height is negative."""
    return make_image(mode).tobytes("raw", raw, 0, -1 if height > 0 else 1)


PALETTE = bytes(make_image("P").getpalette("BGRX")).ljust(1024, b"\0")
MASKS = struct.pack("<3I", 0xFF0000, 0xFF00, 0xFF)


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (bmp(8, rows_of("P", "P"), PALETTE), "P"),
        (bmp(8, rows_of("P", "P", -24), PALETTE, height=-24), "P"),
        (encoded(make_image("P"), "BMP"), "P"),  # a palette that is not full
        (encoded(make_image("L"), "BMP"), "L"),
        (bmp(24, rows_of("RGB", "BGR")), "RGB"),
        (bmp(24, rows_of("RGB", "BGR", -24), height=-24), "RGB"),
        (bmp(32, rows_of("RGB", "BGRX")), "RGB"),
        (bmp(32, rows_of("RGB", "BGRX"), compression=3, masks=MASKS), "RGB"),
    ],
    ids=["8", "8 top-down", "8 few colours", "8 grey", "24", "24 top-down", "32", "32 with masks"],
)
def test_bmps_are_read_as_pil_reads_them(content, mode):
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(expected, make_image(mode).convert("RGB"))
    np.testing.assert_array_equal(decode(tf.constant(content)), expected)
    np.testing.assert_array_equal(tf.function(decode)(tf.constant(content)), expected)


@pytest.mark.parametrize(
    "content",
    [
        encoded(make_image("1"), "BMP"),
        bmp(4, bytes(24 * 12), PALETTE[:64]),
        bmp(16, bytes(24 * 48)),
        bmp(16, bytes(24 * 48), compression=3, masks=struct.pack("<3I", 0xF800, 0x7E0, 0x1F)),
        bmp(8, rows_of("P", "P"), PALETTE, compression=1),
        bmp(4, bytes(24 * 12), PALETTE[:64], compression=2),
        bmp(32, rows_of("RGB", "BGRX"), compression=3, masks=struct.pack("<3I", 0xFF, 0xFF00, 0xFF0000)),
        bmp(8, bytes([9] * 576), PALETTE[:32]),
        b"BM",
    ],
    ids=["1", "4", "16", "16 with masks", "RLE 8", "RLE 4", "32 with other masks", "a colour that is missing", "empty"],
)
def test_bmps_that_tensorflow_does_not_read_rightly_are_refused(content):
    for read in (decode, tf.function(decode)):
        with pytest.raises(tf.errors.InvalidArgumentError) as raised:
            read(tf.constant(content))
    assert not re.search(r"\}\}|\[Op", reason_without_ops(raised.value))


@pytest.mark.parametrize("eval_crop", ["none", "pad32", "0.875"])
def test_an_image_of_one_pixel(eval_crop):
    image = preprocess_eval(tf.constant(encoded(Image.new("RGB", (1, 1), (10, 200, 30)), "PNG")), 8, eval_crop)
    np.testing.assert_array_equal(image, np.broadcast_to(np.float32([10, 200, 30]), (8, 8, 3)))


def mutated(content, number, rng):
    """The content with bytes changed, cut off, inserted or replaced by those of something else."""
    kind = number % 5
    content = bytearray(content)
    if kind == 0:
        for place in rng.integers(0, len(content), rng.integers(1, 9)):
            content[place] = rng.integers(0, 256)
    elif kind == 1:
        del content[rng.integers(0, len(content)) :]
    elif kind == 2:
        content[: rng.integers(1, 40)] = rng.bytes(rng.integers(0, 40))
    elif kind == 3:
        place = rng.integers(0, len(content))
        content[place:place] = rng.bytes(rng.integers(1, 30))
    else:
        content = bytearray(
            (b"", b"RIFF____WEBPVP8 ", b"<html></html>", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n")[number % 25 // 5]
        )
    return bytes(content)


def decodes(content):
    try:
        decode(tf.constant(content))
    except tf.errors.OpError:
        return False
    return True


@pytest.mark.parametrize(("batch_size", "part_size"), [(1, 1), (48, 48), (48, 7)])
def test_a_thousand_mutated_images_are_each_read_or_reported_in_order(batch_size, part_size, monkeypatch):
    monkeypatch.setattr(bad_images, "_MOST_BYTES_OF_A_PART", part_size * 8 * 8 * 3 * 4)
    rng = np.random.default_rng(0)
    originals = [encoded(make_image(), kind) for kind in ("JPEG", "PNG", "GIF", "BMP")]
    contents = [mutated(originals[number % 4], number, rng) for number in range(1000)]
    places = [f"image {number}" for number in range(1000)]
    records = tf.data.Dataset.from_tensor_slices((places, contents))

    def load(content):
        return {"image": preprocess_eval(content, 8, "none")}, tf.constant(1)

    spec = {"image": tf.TensorSpec([8, 8, 3])}
    read = read_or_mark(records.batch(batch_size), load, spec, 2, batch_size).unbatch()
    values, labels, problems = zip(*read.as_numpy_iterator(), strict=True)
    images = [value["image"] for value in values]
    good = [decodes(content) for content in contents]
    assert 100 < sum(good) < 900
    for number in range(1000):
        if good[number]:
            assert (labels[number], problems[number]) == (1, b"")
            np.testing.assert_array_equal(images[number], preprocess_eval(tf.constant(contents[number]), 8, "none"))
        else:
            assert problems[number].decode() == f"image {number}: cannot be read or decoded"
            assert labels[number] == 0 and not images[number].any()


def test_bad_images_are_replaced_and_good_ones_keep_their_indices():
    values = np.arange(5, dtype=np.float32)
    bad = np.float32([0, 1, 0, 0, 1])
    batch = replace_bad_images({"images": values, "bad": bad})
    np.testing.assert_array_equal(batch["images"], [0, 2, 2, 3, 2])
    np.testing.assert_array_equal(batch["bad"], bad)
    with pytest.raises(tf.errors.InvalidArgumentError, match="all images of a training batch"):
        replace_bad_images({"images": values, "bad": np.ones(5, np.float32)})


@pytest.fixture
def folder(tmp_path):
    """Two classes of six and four images; a.png of each split and class is not one."""
    for split, number in (("train", 6), ("val", 4)):
        for name in ("ant", "bee"):
            path = tmp_path / "data" / split / name
            path.mkdir(parents=True)
            for index in range(number):
                (path / f"{'abcdef'[index]}.png").write_bytes(encoded(make_image(), "PNG") if index else b"no image")
    return tmp_path / "data"


def recipe_of(source, **changes):
    small = {
        "network.input_image_size": 16,
        "network.width_coefficient": 0.25,
        "network.depth_coefficient": 0.2,
        "train_batch_size": 4,
        "cadence.eval_batch_size": 3,
        **{f"data.{field}": number for field, number in source.facts.known().items()},
    }
    return override(named_recipe("efficientnet-b0", "imagenet", "vanilla"), small | changes)


def host():
    return tf.distribute.InputContext()


def test_training_counts_what_it_skips_and_keeps_all_good_ones(folder, capfd):
    source = find_source("imagenet", str(folder))
    recipe = recipe_of(source)
    batches = list(train_dataset(source, recipe, host(), 0, SKIP).take(3).as_numpy_iterator())
    assert sum(batch["bad"].sum() for batch in batches) == 2
    assert all(image.any() for batch in batches for image in batch["images"])
    named = re.findall(r"bad image: skipped (\S+):", capfd.readouterr().err.replace('"', ""))
    assert {f"{folder}/train/{name}/a.png" for name in ("ant", "bee")} <= set(named)
    resumed = next(train_dataset(source, recipe, host(), 2, SKIP).as_numpy_iterator())
    np.testing.assert_array_equal(resumed["images"], batches[2]["images"])


def test_error_names_the_file(folder):
    source = find_source("imagenet", str(folder))
    for batches in (train_dataset, eval_dataset):
        with pytest.raises(tf.errors.InvalidArgumentError) as raised:
            list(batches(source, recipe_of(source), host()).take(3))
        expected = rf"bad image: {folder}/\w+/\w+/a\.png: cannot be read or decoded"
        assert re.fullmatch(expected, bad_image_in(raised.value))


def test_evaluation_divides_by_the_good_images(folder):
    source = find_source("imagenet", str(folder))
    recipe = recipe_of(source)
    strategy = one_cpu()

    batches = strategy.distribute_datasets_from_function(lambda context: eval_dataset(source, recipe, context, SKIP))
    collector = PredictionCollector(strategy, through_branches(small_model(("main",)), ("main",)))
    predictions, num_bad = collector.collect(batches, 8)
    assert num_bad == 2
    top1 = predictions["main"].scores()["top1"]
    assert top1 * 6 == pytest.approx(round(top1 * 6))


def records_folder(folder, *records):
    for split in ("train", "validation"):
        with tf.io.TFRecordWriter(str(folder / f"{split}-00000-of-00001")) as writer:
            for content, label in records:
                features = {}
                if content is not None:
                    features["image/encoded"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
                if label is not None:
                    features["image/class/label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
            writer.write(b"no example")


def test_records_are_checked_one_by_one(tmp_path, capsys):
    good = encoded(make_image())
    records_folder(tmp_path, (good, 1), (good, 2), (good, 3), (None, 1), (good, None), (good[:-20], 1), (good, 1))
    (tmp_path / "classes.txt").write_text("ant\nbee")
    source = find_source("imagenet", str(tmp_path))
    assert not check_data(source, recipe_of(source), str(tmp_path / "run"))
    said = capsys.readouterr().out
    assert "train: 8 images in 1 files, 5 of them bad; 2 classes of 1 to 2 good images" in said
    path = f"{tmp_path}/train-00000-of-00001"
    for number, problem in {
        2: "label 2 outside [0, 2), from 0",
        3: "cannot be read or decoded",
        4: "label -1 outside [0, 2), from 0",
        5: "cannot be read or decoded",
        7: "cannot be read or decoded",
    }.items():
        assert f"problem: {path} record {number}: {problem}\n" in said
    assert said.endswith("problems found: 10\n")


def test_a_damaged_file_is_named_with_the_record(tmp_path, capsys):
    good = encoded(make_image())
    records_folder(tmp_path, (good, 1), (good, 2), (good, 1))
    path = tmp_path / "validation-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    (damage,) = damaged_records([str(path)])
    assert re.fullmatch(rf"{path} record 1: corrupted record at \d+.*; no record after it can be read", damage)
    (tmp_path / "classes.txt").write_text("ant\nbee")
    source = find_source("imagenet", str(tmp_path))
    assert not check_data(source, recipe_of(source), str(tmp_path / "run"))
    said = capsys.readouterr().out
    assert f"problem: {damage}\n" in said
    assert re.search(r"^evaluation: 1 images in 1 files, 0 of them bad", said, re.M)  # those before the damage


def test_check_data_of_a_sound_folder_draws_a_contact_sheet(folder, capsys):
    for path in folder.glob("*/*/a.png"):
        path.unlink()
    source = find_source("imagenet", str(folder))
    assert check_data(source, recipe_of(source), str(folder.parent / "run"))
    said = capsys.readouterr().out
    assert "train: 10 images, 0 of them bad; 2 classes of 5 to 5 good images; heights 24 to 24 px" in said
    assert said.endswith("problems found: none\n")
    sheet = tf.io.decode_png((folder.parent / "run" / "contact_sheet.png").read_bytes())
    assert sheet.shape[1] > 1000


def test_the_command_line(folder, two_blocks, capsys):
    model_dir = folder.parent / "run"
    arguments = (
        f"--data_dir={folder}",
        f"--model_dir={model_dir}",
        "--width_coefficient=0.25",
        "--depth_coefficient=0.2",
        "--input_image_size=16",
        "--train_batch_size=4",
        "--train_steps=6",
        "--iterations_per_loop=1",
        "--steps_per_eval=6",
        "--eval_batch_size=3",
        "--lr_warmup_epochs=0",
    )
    stopped = start_main(*arguments, two_blocks=True)
    _, errors = stopped.communicate()
    assert stopped.returncode == 2
    last = errors.splitlines()[-1]
    assert re.match(rf"error: bad image: {folder}/train/\w+/a\.png: cannot be read or decoded", last)
    assert "Traceback" not in errors
    out, _ = run(*arguments, "--bad_images=skip", capsys=capsys)
    assert "epoch 1: 2 bad images, replaced by others" in out
    assert re.search(r"bad_images +2\n", out) and re.search(r"eval_images +6\n", out)
    lines = [json.loads(line) for line in (model_dir / "metrics.jsonl").read_text().splitlines()]
    assert sum(line["bad_images"] for line in lines if line["kind"] == "train") == 4
    assert lines[-1]["kind"] == "eval" and lines[-1]["bad_images"] == 2
    with pytest.raises(SystemExit) as left:
        run("--mode=check_data", f"--data_dir={folder}", f"--model_dir={model_dir}", capsys=capsys)
    assert left.value.code == 1
    assert "problems found: 4" in capsys.readouterr().out
