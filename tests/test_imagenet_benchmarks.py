"""Test sets of ImageNet through the command line: layouts, the 200-way rule, sizes, bad images, refusals."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from efficientnet_advprop.data import preprocess_eval
from efficientnet_advprop.data.class_names import imagenet_synsets
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.weights import open_weights
from efficientnet_advprop.recipes import BENCHMARKS
from tests.command_line import run_main
from tests.real_images import IMAGENET_SAMPLE, needs_imagenet_sample
from tests.test_benchmarking import evaluate, parts_in
from tests.two_blocks import two_block_networks

SYNSETS = imagenet_synsets()
SIZE = 48


@pytest.fixture(scope="module", autouse=True)
def few_blocks() -> Iterator[None]:
    """Networks of two blocks, whose tracing takes a second or two."""
    with two_block_networks():
        yield


@pytest.fixture(scope="module")
def imagenet_run(tmp_path_factory) -> Path:
    """A network of a thousand classes after one step."""
    folder = tmp_path_factory.mktemp("imagenet") / "run"
    # A random classifier whose logits differ between classes, without training.
    small = ("--num_label_classes=1000", "--train_steps=1", "--train_batch_size=2", "--num_eval_images=4")
    small = (*small, f"--input_image_size={SIZE}", "--classifier_init_scale=300", "--base_learning_rate=0.001")
    small = (*small, "--eval_crop=pad32")
    run_main("--mode=train", "--dataset=fake", "--model=efficientnet-b0", f"--model_dir={folder}", *small)
    return folder


def test_a_copy_of_a_set_is_the_same_set_and_another_set_is_not(imagenet_run, tmp_path, capsys):
    png = tf.io.encode_png(np.full((40, 40, 3), 90, np.uint8)).numpy()
    for folder, names in (("a", ("1.png", "2.png")), ("b", ("1.png", "2.png")), ("c", ("1.png", "3.png"))):
        for name in names:
            path = tmp_path / folder / SYNSETS[6] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
    for folder, made in (("a", 0), ("b", 1), ("c", 0)):
        evaluate(
            f"--model_dir={imagenet_run}",
            "--benchmarks=imagenet_sketch",
            f"--benchmark_dir=imagenet_sketch={tmp_path / folder}",
            f"--evaluation_dir={tmp_path / 'evaluation'}",
        )
        assert f"1 passes over images, {made} of them finished before" in capsys.readouterr().out


def test_a_missing_folder_is_named(imagenet_run, capsys):
    with pytest.raises(SystemExit) as stopped:
        evaluate(f"--model_dir={imagenet_run}", "--benchmarks=imagenet_a", "--benchmark_dir=imagenet_a=/none/a")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.strip().endswith("error: imagenet_a: no folder /none/a")


def test_uncropped_images_are_refused_in_a_set_of_squares(imagenet_run, tmp_path, capsys):
    path = tmp_path / "val" / SYNSETS[6] / "whole.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(tf.io.encode_png(np.zeros((30, 40, 3), np.uint8)).numpy())
    with pytest.raises(SystemExit) as stopped:
        evaluate(f"--model_dir={imagenet_run}", "--benchmarks=stylized", f"--benchmark_dir=stylized={tmp_path}")
    assert stopped.value.code == 2
    assert "stylized has square images of 224 px; " in capsys.readouterr().err


def write_sets(folder: Path, images: dict[int, bytes]) -> dict[str, Path]:
    """The folders that the authors of each set distribute, with these images by label."""
    inside = {
        "imagenet": "val",
        "imagenet_v2": "imagenetv2-matched-frequency-format-val",
        "imagenet_a": "imagenet-a",
        "imagenet_r": "imagenet-r",
        "imagenet_sketch": "sketch",
        "stylized": "val",
        "imagenet_c": "",
    }
    parts = {"imagenet_c": ("gaussian_noise/1", "gaussian_noise/2", "fog/5", "speckle_noise/3")}
    for name, inner in inside.items():
        for part in parts.get(name, ("",)):
            for label, image in images.items():
                class_folder = str(label) if name == "imagenet_v2" else SYNSETS[label]
                path = folder / name / inner / part / class_folder / "image.JPEG"
                path.parent.mkdir(parents=True)
                path.write_bytes(image)
    return {name: folder / name for name in inside}


def real_images(model) -> dict[int, bytes]:
    """Images by label, of classes that ImageNet-A and ImageNet-R share.

    The first image's label is what the network takes it for among these, so that a prediction can be correct.
    """
    shared = sorted(set(BENCHMARKS["imagenet_a"].classes) & set(BENCHMARKS["imagenet_r"].classes))
    images = [next((IMAGENET_SAMPLE / SYNSETS[label]).iterdir()).read_bytes() for label in shared[:3]]
    logits = model(preprocess_eval(images[0], SIZE)[tf.newaxis], training=False).numpy()[0]
    columns = np.array(shared)
    right = int(columns[logits[columns].argmax()])
    others = [label for label in shared if label != right][:2]
    return dict(zip([right, *others], images, strict=True))


@needs_imagenet_sample
@pytest.mark.parametrize("resize", ["model", "native"])
def test_every_layout_is_scored_as_its_images_are_one_by_one(imagenet_run, tmp_path, resize):
    model = read_model(imagenet_run)
    by_label = real_images(model)
    sets = write_sets(tmp_path, by_label)
    cropped = {label: as_cropped_jpeg(encoded) for label, encoded in by_label.items()}
    for name in ("stylized", "imagenet_c"):
        for path in sets[name].rglob("*.JPEG"):
            path.write_bytes(cropped[SYNSETS.index(path.parent.name)])
    names = list(sets) if resize == "model" else ["stylized", "imagenet_c"]
    evaluate(
        f"--model_dir={imagenet_run}",
        f"--benchmarks={','.join(names)}",
        *(f"--benchmark_dir={name}={sets[name]}" for name in names),
        f"--robustness_resize={resize}",
        f"--evaluation_dir={tmp_path / 'evaluation'}",
        "--eval_batch_size=2",
    )
    parts = parts_in(tmp_path / "evaluation")
    corrupted = {key for key in parts if key.startswith("imagenet_c/")}
    assert corrupted == {
        f"imagenet_c/{part}" for part in ("gaussian_noise/1", "gaussian_noise/2", "fog/5", "speckle_noise/3")
    }
    whole = [preprocess_eval(encoded, SIZE) for encoded in by_label.values()]
    # Distributed at 224 px: no second crop.
    uncropped = [preprocess_eval(encoded, SIZE if resize == "model" else 224, "none") for encoded in cropped.values()]
    for key, part in parts.items():
        images = uncropped if key.split("/")[0] in ("stylized", "imagenet_c") else whole
        logits = model(tf.stack(images), training=False).numpy()
        labels = np.array(list(by_label))
        number = len(labels)
        expected = float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(number), labels]))
        assert part["images"] == number
        assert part["scores"]["main"]["loss"] == pytest.approx(expected, rel=1e-4), key
        if key in ("imagenet_a", "imagenet_r"):
            columns = np.array(BENCHMARKS[key].classes)
            hits = columns[logits[:, columns].argmax(axis=1)] == labels
            assert part["scores"]["main"]["top1_of_200"] == pytest.approx(hits.mean())
    if resize == "native":
        assert parts["stylized"]["settings"]["input_image_size"] == 224


def as_cropped_jpeg(encoded: bytes) -> bytes:
    """As ImageNet-C's authors made theirs: the short side to 256 px, the central 224, JPEG."""
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    buffer = io.BytesIO()
    image.crop((left, top, left + 224, top + 224)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def read_model(folder: Path) -> tf.keras.Model:
    weights = open_weights(str(folder))
    recipe = weights.facts.recipe
    model, _ = weights.read(lambda: build_model(recipe.network, recipe.data.num_label_classes, recipe.branches))
    return model


def test_a_bad_image_ends_the_evaluation_or_is_counted(imagenet_run, tmp_path, capsys):
    for name, content in (("good.png", None), ("bad.png", b"no image")):
        path = tmp_path / "imagenet-a" / SYNSETS[6] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or tf.io.encode_png(np.full((40, 40, 3), 90, np.uint8)).numpy())
    asked = (
        f"--model_dir={imagenet_run}",
        "--benchmarks=imagenet_a",
        f"--benchmark_dir=imagenet_a={tmp_path}",
        f"--evaluation_dir={tmp_path / 'evaluation'}",
    )
    with pytest.raises(SystemExit) as stopped:
        evaluate(*asked)
    assert stopped.value.code == 2
    assert f"{SYNSETS[6]}/bad.png: cannot be read or decoded" in capsys.readouterr().err
    evaluate(*asked, "--bad_images=skip")
    part = parts_in(tmp_path / "evaluation")["imagenet_a"]
    assert (part["images"], part["bad_images"]) == (1, 1)
