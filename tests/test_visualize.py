"""`--mode=visualize`: gradients, synthesis, adversarial examples, the page, what it refuses."""

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data import evaluation_images, open_source
from efficientnet_advprop.evaluation import (
    AdversarialExamples,
    adversarial_examples,
)
from efficientnet_advprop.modes import gradient_figures, visualize as visualize_mode
from efficientnet_advprop.recipes import (
    AttackSpec,
    RecipeError,
    VisualizationSpec,
    visualization_spec,
)
from efficientnet_advprop.reporting import image_strip
from tests.command_line import refused, run, run_main
from tests.linear_network import some_images
from tests.small import one_cpu, small_model, small_recipe

pytestmark = pytest.mark.usefixtures("few_blocks")

PAGE = "visualization/visualization.md"


def png(seed, height=12, width=12) -> bytes:
    """A smooth random image."""
    coarse = some_images(1, size=3, seed=seed)[0]
    return tf.io.encode_png(tf.cast(tf.image.resize(coarse, [height, width]), tf.uint8)).numpy()


def test_examples_that_change_come_first_and_padding_is_none():
    recipe = small_recipe("vanilla")
    images, labels = evaluation_images(open_source(recipe.data, None), recipe, 8)
    batches = [
        {"images": images[part], "labels": labels[part], "mask": np.float32([1, 1, number, 1])}
        for number, part in enumerate((slice(0, 4), slice(4, 8)))
    ]
    model, spec = small_model(("main",)), AttackSpec(epsilon_px=16.0, num_steps=3)
    found = adversarial_examples(one_cpu(), model, batches, "main", spec, 100, seed=0)
    np.testing.assert_array_equal(found.labels, np.delete(labels, 2))
    np.testing.assert_allclose(found.clean, np.delete(images, 2, 0))
    probabilities = tf.nn.softmax(model(tf.constant(found.adversarial))).numpy()
    np.testing.assert_allclose(found.adversarial_confidences, probabilities.max(1), rtol=1e-3)
    images, classes = np.arange(4.0), [np.array(of) for of in ([0, 0, 0, 0], [0, 1, 2, 3], [0, 5, 2, 6])]
    made = AdversarialExamples(images, images, *classes, images, images)
    assert made.changed.tolist() == [False, True, False, True]
    assert made.changes_in_words() == "2 of 4 predictions change"
    assert made.changed_first(3).clean.tolist() == [1, 3, 0]
    same = dataclasses.replace(made, adversarial_classes=made.clean_classes)
    assert same.changes_in_words() == "none of 4 predictions changes"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parts": ("gradients", "dreams")}, "visualize 'dreams'"),
        ({"parts": ("attack", "attack")}, "visualize attack, attack repeats one"),
        ({"visualize_classes": ("1", "1")}, "visualize_classes 1, 1 repeats one"),
        ({"visualize_classes": ("1",), "parts": ("attack",)}, "visualize_classes would have no effect"),
        ({"visualize_classes": tuple(map(str, range(33)))}, "names 33 classes; at most 32 are drawn"),
    ],
)
def test_invalid_visualizations_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        VisualizationSpec(**values).validate()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """AdvProp and vanilla on digits of 16 px, and a network of three classes in folders."""
    folder = tmp_path_factory.mktemp("runs")
    small = ("--train_steps=20", "--train_batch_size=32", "--width_coefficient=0.5", "--iterations_per_loop=20")
    for scheme in ("advprop", "vanilla"):
        name = (f"--scheme={scheme}", f"--model_dir={folder / scheme}", "--input_image_size=16")
        run_main(*name, "--mode=train" if scheme == "vanilla" else "--mode=train_and_eval", *small)
    for split in ("train", "val"):
        for number, name in enumerate(("a cat with a long name", "dog", "owl")):
            (folder / "data" / split / name).mkdir(parents=True)
            for image in range(3):
                (folder / "data" / split / name / f"{image}.png").write_bytes(png(3 * number + image))
    other = ("--mode=train", f"--data_dir={folder / 'data'}", f"--model_dir={folder / 'folders'}")
    run_main(*other, "--train_batch_size=4", "--train_steps=2", "--input_image_size=16", "--width_coefficient=0.5")
    return folder


def visualize(*arguments, capsys) -> str:
    return run("--mode=visualize", *map(str, arguments), capsys=capsys)[0]


def figures_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "visualization" / "figures").iterdir())}


def test_a_run_beside_another_has_all_figures_twice_the_same(runs, monkeypatch, capsys):
    monkeypatch.setattr(visualization_spec, "_INPAINTING", (21.6, 0.1, 20))  # for 720 steps
    arguments = (f"--model_dir={runs / 'advprop'}", f"--compare={runs / 'vanilla'}", "--visualize_images=3")
    before = {path: path.read_bytes() for path in (runs / "vanilla").rglob("*") if path.is_file()}
    out = visualize(*arguments, capsys=capsys)
    assert out.endswith(f"page: {runs / 'advprop' / PAGE}\n")
    figures = figures_of(runs / "advprop")
    assert list(figures) == [
        *(f"attack-{i}.png" for i in (1, 2, 3)),
        "generation.png",
        "gradients.png",
        "inpainting.png",
    ]
    page = (runs / "advprop" / PAGE).read_text()
    for title in ("Loss gradients", "Generation", "Inpainting", "What the attack changes"):
        assert f"\n## {title}\n" in page
    assert "| advprop | efficientnet-b0, 16 px | advprop" in page
    assert "| advprop, auxiliary |" in page
    assert "60 steps of 63.75 px in L2, epsilon 3825 px, at 16 px" in page
    assert "--visualize_images=3" in page
    for name in figures:
        assert f"(figures/{name})" in page
    assert {path: path.read_bytes() for path in (runs / "vanilla").rglob("*") if path.is_file()} == before
    visualize(*arguments, "--visualize=generation,attack", capsys=capsys)
    assert figures_of(runs / "advprop") == figures
    assert "Loss gradients" not in (runs / "advprop" / PAGE).read_text()


def test_files_are_shown_without_data_and_synthesis_is_left_out(runs, tmp_path, capsys):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(number, 20, 30))
    (tmp_path / "0a.png").write_text("no image")
    arguments = (f"--model_dir={runs / 'folders'}", f"--images={tmp_path}/*.png", f"--compare={runs / 'advprop'}")
    line = refused("--mode=visualize", *arguments, capsys=capsys)
    assert "label 0 is 0 there, a cat with a long name in the first network" in line
    out = visualize(*arguments[:2], capsys=capsys)
    assert "generation is left out: it needs images of the classes: dataset imagenet needs data_dir" in out
    page = (runs / "folders" / PAGE).read_text()
    assert "## Inpainting\n\nLeft out: it needs images of the classes" in page
    assert list(figures_of(runs / "folders")) == ["attack-1.png", "gradients.png"]
    assert "clean right" not in page  # the true classes are unknown
    visualize(*arguments, "--visualize=gradients", capsys=capsys)
    assert "| advprop, auxiliary |" in (runs / "folders" / PAGE).read_text()
    visualize(
        arguments[0],
        f"--data_dir={runs / 'data'}",
        "--visualize=generation",
        "--visualize_classes=owl,0",
        capsys=capsys,
    )
    assert "(3 to 3 of each class" in (runs / "folders" / PAGE).read_text()


def test_a_saved_model_is_shown_beside_a_run(runs, tmp_path, capsys):
    version = runs / "advprop" / "saved_model" / "1"
    parts = "--visualize=gradients,generation"
    out = visualize(
        f"--init_checkpoint={version}", f"--model_dir={tmp_path / 'out'}", parts, "--visualize_images=2", capsys=capsys
    )
    assert "weights: as exported" in out
    page = (tmp_path / "out" / PAGE).read_text()
    assert "| saved_model/1 |" in page
    assert list(figures_of(tmp_path / "out")) == ["generation.png", "gradients.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--visualize=dreams"], "visualize 'dreams'"),
        (["--visualize="], "--visualize= names nothing"),
        (["--visualize_images=0"], "visualize_images 0 is outside [1, 32]"),
        (
            ["--visualize_classes=11"],
            "names '11'; the classes of these weights are 0, 1, 2, 3, 4, ..., or",
        ),
        (["--visualize_classes=cat"], "or a number below 10"),
        (["--visualize=attack", "--visualize_classes=1"], "visualize_classes would have no effect"),
        (["--compare=RUNS/none"], "RUNS/none"),
        (["--compare=RUNS/advprop/"], "--compare=RUNS/advprop/ is the run itself, which is shown first"),
        (["--compare=RUNS/vanilla,RUNS/vanilla/"], "--compare names RUNS/vanilla twice"),
        (["--compare="], "--compare= names an empty folder"),
        (
            ["--compare=RUNS/folders"],
            "other classes: label 0 is a cat with a long name there, 0 in the first",
        ),
        (
            ["--visualize=inpainting", "--images=RUNS/advprop/*"],
            "--images would have no effect: only --visualize=gradients,attack",
        ),
        (["--images=RUNS/none/*.png"], "no file matches RUNS/none/*.png"),
        (["--images=RUNS/advprop/recipe.json"], "none of the 1 files of RUNS/advprop/recipe.json is an image"),
        (["--data_dir=RUNS/data"], "--data_dir=RUNS/data would have no effect: the images of digits need no folder"),
        (["--train_steps=30"], "flags contradict the recipe"),
        (["--output=x"], "--output is read by --mode=predict"),
    ],
)
def test_what_cannot_be_visualized_is_one_line(arguments, message, runs, capsys):
    before = sorted(runs.rglob("*"))
    named = [argument.replace("RUNS", str(runs)) for argument in arguments]
    line = refused("--mode=visualize", f"--model_dir={runs / 'advprop'}", *named, capsys=capsys)
    assert message.replace("RUNS", str(runs)) in line
    assert sorted(runs.rglob("*")) == before


def test_images_are_needed(runs, tmp_path, capsys):
    line = refused("--mode=visualize", f"--model_dir={runs / 'folders'}", capsys=capsys)
    assert "dataset imagenet needs data_dir" in line
    assert "--images='FOLDER/*.png' shows gradients of files" in line
    (tmp_path / "0.png").write_bytes(png(0))
    only = ("--visualize=generation,inpainting", f"--images={tmp_path}/0.png")
    line = refused("--mode=visualize", f"--model_dir={runs / 'folders'}", *only, capsys=capsys)
    assert "--images would have no effect: only --visualize=gradients,attack read image files" in line


def test_a_pattern_without_files_is_refused_before_devices_are_used(runs, monkeypatch, capsys):
    def too_early(*arguments):
        raise AssertionError("devices")

    monkeypatch.setattr(visualize_mode, "LoadedNetwork", too_early)
    arguments = (f"--model_dir={runs / 'advprop'}", f"--images={runs}/none/*.png")
    line = refused("--mode=visualize", *arguments, capsys=capsys)
    assert f"no file matches {runs}/none/*.png" in line


def test_a_network_of_other_classes_has_no_true_classes(runs, monkeypatch, capsys):
    """Its loss is that of its own prediction, so nothing says how often it is right."""
    strips = []

    def strip(examples, names, title, is_labelled):
        strips.append((title, is_labelled))
        return image_strip(examples, names, title, is_labelled)

    monkeypatch.setattr(gradient_figures, "image_strip", strip)
    arguments = (f"--model_dir={runs / 'folders'}", f"--data_dir={runs / 'data'}", f"--compare={runs / 'vanilla'}")
    visualize(*arguments, "--visualize=gradients,attack", "--visualize_images=2", capsys=capsys)
    page = (runs / "folders" / PAGE).read_text()
    loss = "the true class; for vanilla, of other classes, the class that the network's first branch predicts"
    assert f"The loss is that of {loss}." in page
    assert f"it raises the loss of {loss}." in page
    attack = page.partition("## What the attack changes")[2]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in attack.splitlines() if line.startswith("|")]
    rows = {label: rest for label, *rest in cells}
    assert re.fullmatch("[0-9] of 9", rows["vanilla"][0])
    assert rows["vanilla"][1:] == ["", ""]
    assert all(cell.isdecimal() for cell in rows["folders"][1:])
    assert [is_labelled for _, is_labelled in strips] == [True, False]
    assert strips[0][0].endswith("predictions change.")
    assert strips[1][0].endswith("predictions change, under the loss of the predicted class.")


def test_generation_without_readable_training_images_is_left_out(runs, tmp_path, capsys):
    shutil.copytree(runs / "data", tmp_path / "data")
    for file in (tmp_path / "data" / "train" / "owl").iterdir():
        file.write_text("no image")
    arguments = (f"--model_dir={runs / 'folders'}", f"--data_dir={tmp_path / 'data'}", "--bad_images=skip")
    out = visualize(*arguments, "--visualize=generation", "--visualize_classes=owl", capsys=capsys)
    assert "reading training images of 1 class\n" in out
    assert "generation is left out: no readable training image of owl was found" in out
    page = (runs / "folders" / PAGE).read_text()
    assert "## Generation\n\nLeft out: no readable training image of owl was found." in page
    visualize(*arguments, "--visualize=generation,inpainting", "--visualize_classes=owl,dog", capsys=capsys)
    page = (runs / "folders" / PAGE).read_text()
    where = tmp_path / "data"
    assert re.search(f"Images: the first training images of .*{where}.*; no readable training image of owl", page)
    assert re.search(f"Images: evaluation images of .*{where}.*, evenly spaced", page)
