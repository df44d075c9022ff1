"""`--mode=visualize`: gradients, synthesis, adversarial examples, the page, what it refuses."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data import class_images, evaluation_images, open_source
from efficientnet_advprop.evaluation import (
    OUTSIDE_WEIGHT,
    SEED_VARIANCE,
    AdversarialExamples,
    adversarial_examples,
    gaussian_seeds,
    loss_gradients,
    masked_images,
    require_gradients,
    share_in_squares,
    synthesize,
)
from efficientnet_advprop.modes import gradient_figures, visualize as visualize_mode
from efficientnet_advprop.recipes import (
    AttackSpec,
    InputOptions,
    RecipeError,
    VisualizationSpec,
    generation_attack,
    inpainting_attack,
    mask_side_px,
    seed_grain_px,
    visualization_spec,
)
from efficientnet_advprop.reporting import image_strip, rescaled
from tests.command_line import refused, run, run_main
from tests.small import one_cpu, small_model, small_recipe
from tests.two_blocks import two_block_networks

SEED = tf.constant([3, 4])
PAGE = "visualization/visualization.md"


@pytest.fixture(scope="module", autouse=True)
def few_blocks() -> Iterator[None]:
    """Networks of two blocks, whose tracing takes a second or two."""
    with two_block_networks():
        yield


class Linear:
    """Logits that are linear in the pixels: their gradient is known."""

    branches = ("main", "auxiliary")

    def __init__(self, size=4, num_classes=3):
        self.num_classes = num_classes
        self.weights = np.random.default_rng(0).normal(0, 0.01, (size * size * 3, num_classes)).astype(np.float32)

    def __call__(self, images, training=False, branch="main", statistics=None):
        factor = {"main": 1.0, "auxiliary": 2.0}[branch]
        return factor * tf.reshape(images, [images.shape[0], -1]) @ self.weights


def some_images(number, size=4, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (number, size, size, 3)).astype(np.float32)


def png(seed, height=12, width=12) -> bytes:
    """A smooth random image."""
    coarse = some_images(1, size=3, seed=seed)[0]
    return tf.io.encode_png(tf.cast(tf.image.resize(coarse, [height, width]), tf.uint8)).numpy()


def softmax(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def each_step(steps):
    return iter(steps)


def test_the_gradient_of_a_linear_network_is_the_one_on_paper():
    model, images, labels = Linear(), some_images(5), np.array([0, 1, 2, 0, 1])
    for branch, factor in (("main", 1.0), ("auxiliary", 2.0)):
        weights = factor * model.weights
        expected = (softmax(images.reshape(5, -1) @ weights) - np.eye(3)[labels]) @ weights.T
        found = loss_gradients(model, images, labels, branch)
        np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-3, atol=1e-7)


def test_the_gradient_of_a_network_agrees_with_finite_differences():
    model, images, labels = small_model(), some_images(2, size=16), np.array([3, 7])
    for branch in ("main", "auxiliary"):
        gradient = loss_gradients(model, images, labels, branch)
        direction = gradient / np.sqrt((gradient**2).sum((1, 2, 3), keepdims=True))

        def losses(shown, branch=branch):
            logits = model(tf.constant(shown), branch=branch)
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits).numpy()

        slopes = (losses(images + 2 * direction) - losses(images - 2 * direction)) / 4
        np.testing.assert_allclose(slopes, (gradient * direction).sum((1, 2, 3)), rtol=0.05)


def test_a_network_without_gradients_is_refused_by_name():
    class Rounded(Linear):
        def __call__(self, images, **arguments):
            return super().__call__(tf.cast(tf.cast(images, tf.int32), tf.float32), **arguments)

    require_gradients(Linear(), 4, "file")
    with pytest.raises(RecipeError, match=r"^file gives no gradient .*visualize needs the checkpoint$"):
        require_gradients(Rounded(), 4, "file")


def test_a_network_whose_gradients_the_device_cannot_compute_is_refused_by_name():
    class Grouped(Linear):
        def __call__(self, images, **arguments):
            pixels = tf.repeat(tf.cast(images, tf.float64), 2, -1)  # on a CPU groups have gradients in float32 alone
            with tf.device("CPU"):
                found = tf.nn.conv2d(pixels, tf.ones([1, 1, 2, 3], tf.float64), 1, "SAME")
            return super().__call__(tf.cast(found, tf.float32), **arguments)

    with pytest.raises(RecipeError, match=r"^file gives no gradient .*roup.*visualize needs the checkpoint$"):
        require_gradients(Grouped(), 4, "file")


def test_what_squares_leave_of_a_gradient():
    rng = np.random.default_rng(0)
    coarse = rng.normal(0, 1, (5, 8, 8, 3))
    assert share_in_squares(1e-30 * coarse.repeat(4, 1).repeat(4, 2), 4) == pytest.approx(1)
    assert share_in_squares(np.pad(coarse, ((0, 0), (0, 1), (0, 2), (0, 0))), 1) == pytest.approx(1)
    assert share_in_squares(rng.normal(0, 1, (5, 64, 64, 3)), 4) == pytest.approx(1 / 16, rel=0.05)
    assert share_in_squares(np.zeros((1, 4, 4, 3)), 4) == 0


def test_a_gradient_is_clipped_at_three_deviations():
    gradient = np.random.default_rng(0).normal(5, 2, (50, 50, 3))
    gradient[0, 0] = (1e3, -1e3, 5)
    mean, deviation = gradient.mean(), gradient.std()
    clipped = np.clip(gradient, mean - 3 * deviation, mean + 3 * deviation)
    np.testing.assert_allclose(rescaled(gradient), (clipped - (mean - 3 * deviation)) / (6 * deviation), atol=1e-12)
    assert (rescaled(gradient).min(), rescaled(gradient).max()) == (0, 1)


@pytest.mark.parametrize("grain", [1, 2])
def test_a_seed_has_mean_and_covariance_of_its_class(grain):
    """Of 4,000 samples; the images are far from 0 and 255, where samples are clipped."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(0, 6, (6, 4 * 4 * 3))
    images = 128 + (rng.normal(0, 1, (40, 6)) @ mixing).reshape(40, 4, 4, 3)
    samples = gaussian_seeds(images, grain, 4000, SEED)
    blocks = samples.reshape(4000, 4 // grain, grain, 4 // grain, grain, 3)
    assert np.ptp(blocks, axis=(2, 4)).max() == 0  # squares of equal pixels
    coarse = images.reshape(40, 4 // grain, grain, 4 // grain, grain, 3).mean((2, 4)).reshape(40, -1)
    found = blocks[:, :, 0, :, 0].reshape(4000, -1)
    covariance = np.cov(coarse.T, bias=True) + 255**2 * SEED_VARIANCE * np.eye(coarse.shape[1])
    size = np.abs(covariance).max()
    np.testing.assert_allclose(found.mean(0), coarse.mean(0), atol=5 * (size / 4000) ** 0.5)
    np.testing.assert_allclose(np.cov(found.T), covariance, atol=0.12 * size)
    assert np.array_equal(gaussian_seeds(images, grain, 4000, SEED), samples)


def test_a_masked_square_has_the_mean_colour_and_the_rest_stays():
    images = some_images(20, size=12)
    masked, masks = masked_images(images, 5, SEED)
    assert masks.sum((1, 2, 3)).tolist() == [25.0] * 20
    assert (masks.any(2).sum((1, 2)).tolist(), masks.any(1).sum((1, 2)).tolist()) == ([5] * 20, [5] * 20)
    assert len({mask.tobytes() for mask in masks}) > 10  # places differ
    np.testing.assert_array_equal(masked * (1 - masks), images * (1 - masks))
    means = np.broadcast_to(images.mean((1, 2), keepdims=True), images.shape)
    np.testing.assert_allclose(masked[masks[..., 0] > 0], means[masks[..., 0] > 0], rtol=1e-6)
    whole, _ = masked_images(images, 12, SEED)  # the largest square fits
    np.testing.assert_allclose(whole, means, rtol=1e-6)


def losses_of(model, images, labels, branch):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(tf.constant(images), branch=branch)).numpy()


@pytest.mark.parametrize("branch", ["main", "auxiliary"])
def test_synthesis_lowers_the_loss_within_its_ball(branch, two_replicas):
    model, start, labels = Linear(), some_images(4), [0, 1, 2, 0]
    start[0] -= 20  # outside of [0, 255]
    clean = np.clip(start, 0, 255)
    spec = AttackSpec("pgd", "l2", epsilon_px=100.0, step_size_px=30.0, num_steps=6, random_start=False)
    made, probabilities = synthesize(one_cpu(), model, branch, start, labels, spec, each_step)
    assert made.min() >= 0
    assert made.max() <= 255
    lengths = np.sqrt(((made - clean) ** 2).sum((1, 2, 3)))
    assert (lengths <= 100 * (1 + 1e-5)).all()
    assert lengths.max() > 90
    before, after = (losses_of(model, images, labels, branch) for images in (clean, made))
    assert (after < before).all()
    np.testing.assert_allclose(probabilities, np.exp(-after), rtol=1e-4)
    again, _ = synthesize(two_replicas, model, branch, start, labels, spec, each_step)
    np.testing.assert_allclose(again, made, atol=1e-3)


def test_one_step_of_inpainting_is_the_one_on_paper():
    """From the masked image the penalty has no gradient; from the second step on it pulls back outside."""
    model, images, labels = Linear(), some_images(3), np.array([2, 0, 1])
    masked, masks = masked_images(images, 2, SEED)
    spec = AttackSpec("pgd", "l2", epsilon_px=1e5, step_size_px=60.0, num_steps=2, random_start=False)
    expected = masked.copy()
    for _ in range(2):
        pull = 2 * OUTSIDE_WEIGHT * (expected - masked) * (1 - masks) / 255**2 / masked[0].size
        weights = model.weights
        of_class = (softmax(expected.reshape(3, -1) @ weights) - np.eye(3)[labels]) @ weights.T
        gradient = of_class.reshape(masked.shape) + pull
        expected = np.clip(expected - 60 * gradient / np.sqrt((gradient**2).sum((1, 2, 3), keepdims=True)), 0, 255)
    made, _ = synthesize(one_cpu(), model, "main", masked, labels, spec, each_step, masks)
    np.testing.assert_allclose(made, expected, atol=0.05)
    free, _ = synthesize(one_cpu(), model, "main", masked, labels, spec, each_step)
    outside = [np.abs((one - masked) * (1 - masks)).sum() for one in (made, free)]
    assert outside[0] < outside[1]


def test_lengths_are_the_published_ones_at_their_sizes():
    """Of the authors' notebooks, in [0, 1]."""
    for attack, size, (epsilon, step, steps) in (
        (generation_attack, 32, (30, 0.5, 60)),
        (generation_attack, 224, (40, 1, 60)),
        (inpainting_attack, 224, (21.6, 0.1, 720)),
    ):
        spec = attack(size)
        spec.validate()
        assert (spec.norm, spec.num_steps, spec.random_start) == ("l2", steps, False)
        assert (spec.epsilon_px / 255, spec.step_size_px / 255) == pytest.approx((epsilon, step))
        assert attack(2 * size if size > 64 else size // 2).epsilon_px == pytest.approx(
            spec.epsilon_px * (2 if size > 64 else 0.5)
        )
    assert [mask_side_px(size) for size in (8, 32, 224)] == [2, 9, 60]
    assert [seed_grain_px(size) for size in (32, 66, 224)] == [1, 1, 4]


def test_training_images_of_classes_are_those_of_the_data():
    recipe = small_recipe(data__train_images_per_class=3, data__num_train_images=30)
    source = open_source(recipe.data, None)
    found = class_images(source, recipe, [7, 2], InputOptions())
    assert {label: images.shape for label, images in found.items()} == {7: (3, 16, 16, 3), 2: (3, 16, 16, 3)}
    of_all = [
        (tf.cast(tf.round(image), tf.uint8).numpy().tobytes(), int(label))
        for _, (image, label) in source.records(recipe, "train").as_numpy_iterator()
    ]
    for label, images in found.items():
        assert {image.tobytes() for image in images} == {image for image, of in of_all if of == label}
    assert class_images(source, recipe, [7], InputOptions())[7].tobytes() == found[7].tobytes()


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
            ["--visualize=inpainting", "--images=RUNS/*"],
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
