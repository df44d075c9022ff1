"""The command line on given weights: from official checkpoints to predictions, runs and SavedModels."""

import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow as tf

import flags
from efficientnet_advprop.data import class_names
from efficientnet_advprop.data.class_names import imagenet_synsets
from efficientnet_advprop.evaluation import logits_of_batches
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.weights import load_official_checkpoint, open_weights
from efficientnet_advprop.recipes import NetworkSpec, RecipeError, WeightsFacts, named_recipe, network_spec
from tests.command_line import refused, run, set_flags
from tests.official_checkpoint import official_tensors, write_tf1
from tests.small import randomize_norms
from tests.test_tfrecord import write_split

pytestmark = pytest.mark.usefixtures("few_blocks")

SMALL = ("--width_coefficient=0.25", "--depth_coefficient=0.2", "--input_image_size=32")


def small_b0() -> NetworkSpec:
    small = {"width_coefficient": 0.25, "depth_coefficient": 0.2, "input_image_size": 32}
    return dataclasses.replace(network_spec("efficientnet-b0"), **small)


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> str:
    """A narrow and short B0 of 1,000 classes, laid out as the official AdvProp files are; its raw values are all 7."""
    tf.keras.utils.set_random_seed(0)
    model = build_model("efficientnet-b0", 1000, width_coefficient=0.25, depth_coefficient=0.2)
    randomize_norms(model)
    folder = tmp_path_factory.mktemp("official") / "advprop" / "efficientnet-b0"
    write_tf1(folder / "model.ckpt", official_tensors(model))
    return str(folder)


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    """Nine images of all kinds and sizes, a truncated file and one of text."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(8):
        pixels = rng.integers(0, 256, (40 + index, 50, 1 if index == 3 else 3), np.uint8)
        encoded = tf.io.encode_png(pixels) if index % 2 else tf.io.encode_jpeg(pixels)
        (folder / f"{index}.jpg").write_bytes(encoded.numpy())
    one_pixel = tf.io.encode_png(np.full((1, 1, 3), 9, np.uint8)).numpy()
    (folder / "8.jpg").write_bytes(one_pixel)
    (folder / "cut.jpg").write_bytes((folder / "0.jpg").read_bytes()[:200])
    (folder / "text.jpg").write_text("not an image")
    return folder


def write_folders(folder, classes, training=True, bad=()) -> None:
    """Four PNGs a class for evaluation, and as many for training; those of the `bad` classes are text."""
    for split in ("val", "train") if training else ("val",):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for index in range(4):
                pixels = np.full((20, 20, 3), 20 * index, np.uint8)
                content = tf.io.encode_png(pixels).numpy() if split == "train" or name not in bad else b"text"
                (folder / split / name / f"{index}.png").write_bytes(content)


def write_imagenet(folder) -> None:
    """Four training images and three for evaluation, labels within the first five of 1,000 classes."""
    folder.mkdir()
    write_split(folder, "train", (4,))
    write_split(folder, "validation", (3,))


def test_official_checkpoint_in_saved_model_out(official, tmp_path, capsys):
    """One command exports the averaged weights, with their preprocessing."""
    out, _ = run("--mode=export", f"--init_checkpoint={official}", f"--export_dir={tmp_path}", *SMALL, capsys=capsys)
    assert "weights: averaged, official efficientnet-b0" in out
    assert "preprocessing: advprop (as the folder advprop is in the path; --preprocessing overrides it)" in out
    assert "compared on noise" in out
    assert re.search(rf"^saved_model: {tmp_path}/1, \d+\.\d MB \(the checkpoint: \d+\.\d MB\)$", out, re.M)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    description = json.loads(loaded.description().numpy())
    assert description == json.loads((tmp_path / "1" / "export.json").read_text())
    assert description["preprocessing"] == "advprop"
    assert description["class_names"][:2] == ["tench", "goldfish"]
    assert (description["scheme"], description["dataset"], description["branch"]) == ("advprop", None, "main")
    assert description["weights"] == "averaged, official efficientnet-b0"
    model = build_model(small_b0(), 1000)
    load_official_checkpoint(model, official)
    images = tf.constant(np.random.default_rng(1).uniform(0, 255, (3, 32, 32, 3)), tf.float32)
    expected = model(images)
    exported = loaded.signatures["serving_default"](images=images)["logits"]
    np.testing.assert_allclose(exported, expected, atol=1e-5 * np.abs(expected).max())


def test_official_to_our_checkpoint_to_saved_model_keeps_the_logits(official, tmp_path, capsys):
    """Trained for one step at a learning rate too small to change a weight, then read from our own checkpoint."""
    data = tmp_path / "data"
    write_imagenet(data)
    command = (f"--init_checkpoint={official}", f"--data_dir={data}", "--advprop", *SMALL)
    sizes = ("--train_batch_size=2", "--num_train_images=4", "--num_eval_images=3")
    still = ("--base_learning_rate=1e-30", "--weight_decay=0", "--train_steps=1", "--batch_norm_momentum=0.9999999")
    run("--mode=train", *command, *sizes, *still, f"--model_dir={tmp_path / 'run'}", capsys=capsys)
    run("--mode=export", f"--init_checkpoint={tmp_path / 'run'}", f"--export_dir={tmp_path / 'out'}", capsys=capsys)
    model = build_model(small_b0(), 1000)
    load_official_checkpoint(model, official)
    images = tf.constant(np.random.default_rng(1).uniform(0, 255, (3, 32, 32, 3)), tf.float32)
    expected = model(images).numpy()
    signature = tf.saved_model.load(str(tmp_path / "out" / "1")).signatures["serving_default"]
    np.testing.assert_allclose(signature(images=images)["logits"], expected, atol=1e-4 * np.abs(expected).max())


def test_a_thousand_classes_fine_tuned_on_ten_with_advprop(official, tmp_path, capsys):
    command = ("--advprop", f"--init_checkpoint={official}", f"--model_dir={tmp_path}", *SMALL, "--train_steps=2")
    out, _ = run(*command, "--iterations_per_loop=2", capsys=capsys)
    assert "auxiliary branch: starts from the main branch's values" in out
    assert re.search(r"not loaded, for another number of classes \(10 here\): efficientnet-b0/head/dense/kernel", out)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["step"] == 2
    signature = tf.saved_model.load(summary["saved_model"]).signatures["serving_default"]
    assert signature.structured_outputs["logits"].shape[-1] == 10
    # A run does not need its initial checkpoint to resume.
    out, _ = run(*command, "--init_checkpoint=/gone", capsys=capsys)
    assert "this run is finished" in out
    # A run's own checkpoint carries its preprocessing and its class names.
    weights = open_weights(str(tmp_path))
    assert weights.facts.settings["network.preprocessing"] == "advprop"
    assert weights.class_names == tuple("0123456789")


def test_every_image_is_predicted_or_reported(official, image_folder, tmp_path, capsys):
    output = tmp_path / "out" / "logits.npy"
    out, errors = run(
        "--mode=predict",
        f"--init_checkpoint={official}",
        f"--images={image_folder}/*.jpg",
        f"--output={output}",
        f"--model_dir={tmp_path}",
        "--eval_batch_size=4",
        *SMALL,
        capsys=capsys,
    )
    results = json.loads((tmp_path / "predictions.json").read_text())
    files = [prediction["file"] for prediction in results["predictions"]]
    assert files == [str(image_folder / f"{index}.jpg") for index in range(9)]
    skipped = [file["file"] for file in results["skipped"]]
    assert skipped == [str(image_folder / name) for name in ("cut.jpg", "text.jpg")]
    assert f"skipped {image_folder / 'cut.jpg'}: " in errors
    assert f"skipped {image_folder / 'text.jpg'}: Unknown image file format" in errors
    assert "9 images predicted, 2 skipped" in out
    logits = np.load(output)
    assert logits.shape == (9, 1000)
    names = class_names(1000)
    for row, prediction in zip(logits, results["predictions"], strict=True):
        probabilities = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        best = np.argsort(-row, kind="stable")[:5]
        assert [top["label"] for top in prediction["top"]] == best.tolist()
        assert [top["name"] for top in prediction["top"]] == [names[label] for label in best]
        np.testing.assert_allclose([top["probability"] for top in prediction["top"]], probabilities[best], rtol=1e-4)
        assert f"{names[best[0]]} {100 * probabilities[best[0]]:.1f} %" in out


def test_a_flag_overrides_the_hint_of_the_folder_and_both_are_reported(official, tmp_path, capsys):
    command = ("--mode=export", f"--init_checkpoint={official}", "--preprocessing=imagenet", *SMALL)
    out, _ = run(*command, f"--export_dir={tmp_path}", capsys=capsys)
    assert "preprocessing: imagenet (by --preprocessing)" in out
    assert "weights in a folder of this name need advprop" in out
    assert json.loads((tmp_path / "1" / "export.json").read_text())["preprocessing"] == "imagenet"


def test_predictions_of_a_runs_own_checkpoint(official, image_folder, tmp_path, capsys):
    """One image is a batch of one: its class names are those of the run's data."""
    train = ("--mode=train", f"--init_checkpoint={official}", "--train_steps=1", *SMALL)
    run(*train, f"--model_dir={tmp_path}", capsys=capsys)
    out, _ = run("--mode=predict", f"--model_dir={tmp_path}", f"--images={image_folder}/8.jpg", capsys=capsys)
    assert "1 images predicted, 0 skipped" in out
    (prediction,) = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert len(prediction["top"]) == 5
    assert {best["name"] for best in prediction["top"]} < set("0123456789")


def test_an_output_that_cannot_be_written_costs_no_prediction(official, image_folder, tmp_path, capsys):
    command = ("--mode=predict", f"--init_checkpoint={official}", f"--images={image_folder}/*.jpg", *SMALL)
    for output, message in ((tmp_path, "is a folder"), ("/proc/x/logits.npy", "output /proc/x cannot be written")):
        assert message in refused(*command, f"--output={output}", f"--model_dir={tmp_path / 'out'}", capsys=capsys)
    assert list(tmp_path.iterdir()) == []


def test_replicas_share_the_images_of_a_prediction(two_replicas):
    with two_replicas.scope():
        model = build_model(small_b0(), 10)
        randomize_norms(model)
    images = list(np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3)).astype(np.float32))
    logits = logits_of_batches(two_replicas, model)(images)
    expected = model(np.stack(images))
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


def test_predictions_are_the_models_on_the_official_crop(official, image_folder, tmp_path, capsys):
    arguments = ("--mode=predict", f"--init_checkpoint={official}", f"--images={image_folder}/0.jpg", *SMALL)
    run(*arguments, f"--output={tmp_path}/a.npy", f"--model_dir={tmp_path}", capsys=capsys)
    model = build_model(small_b0(), 1000)
    load_official_checkpoint(model, official)
    pixels = tf.io.decode_jpeg((image_folder / "0.jpg").read_bytes())  # 40 x 50
    side = 20  # 32 / (32 + 32) of 40
    crop = tf.cast(pixels[10 : 10 + side, 15 : 15 + side], tf.float32)[None]
    images = tf.compat.v1.image.resize_bicubic(crop, [32, 32])
    expected = model(images)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), expected, atol=1e-4 * np.abs(expected).max())


def test_images_that_are_missing_or_cannot_be_decoded(official, image_folder, tmp_path, capsys):
    command = ("--mode=predict", f"--init_checkpoint={official}", f"--model_dir={tmp_path}", *SMALL)
    line = refused(*command, f"--images={image_folder}/*.gif", capsys=capsys)
    assert re.search(
        rf"no file matches {image_folder}/\*\.gif; {image_folder} holds .*\.jpg files: \d+, such as ", line
    )
    assert f"give {image_folder}/*.jpg" in refused(*command, f"--images={image_folder}", capsys=capsys)
    with pytest.raises(SystemExit) as left:
        run(*command, f"--images={image_folder}/t*.jpg", capsys=capsys)
    assert left.value.code == 2
    assert "none of the 1 files" in capsys.readouterr().err
    assert not (tmp_path / "predictions.json").exists()


def test_evaluation_of_an_official_checkpoint_on_a_folder(official, tmp_path, capsys):
    write_imagenet(tmp_path / "data")
    sizes = ("--num_eval_images=3", "--eval_batch_size=2")
    out, _ = run(
        "--mode=eval",
        f"--init_checkpoint={official}",
        f"--data_dir={tmp_path / 'data'}",
        *sizes,
        *SMALL,
        capsys=capsys,
    )
    assert re.search(r"top1_main +\d+\.\d\d %", out)


def test_a_run_is_evaluated_on_other_images_of_its_classes_alone(tmp_path, capsys):
    """Labels of other classes are refused: the accuracy would be meaningless."""
    write_folders(tmp_path / "data", ("ant", "bee", "cat"), bad=("ant",))
    few = ("--train_batch_size=4", "--train_steps=2", "--iterations_per_loop=2", "--lr_warmup_epochs=0")
    train = (f"--data_dir={tmp_path / 'data'}", f"--model_dir={tmp_path / 'run'}", "--augment_name=none", *few, *SMALL)
    # All of the first batch of evaluation images is bad: the export is compared on later ones.
    out, _ = run(*train, "--bad_images=skip", "--eval_batch_size=4", capsys=capsys)
    assert re.search(r"bad_images +4", out)
    card = (tmp_path / "run" / "saved_model" / "1" / "model_card.md").read_text()
    assert "images of 3 classes" in card
    evaluate = ("--mode=eval", f"--init_checkpoint={tmp_path / 'run'}")
    write_folders(tmp_path / "more", ("ant", "bee", "cat"), training=False)
    out, _ = run(*evaluate, f"--data_dir={tmp_path / 'more'}", capsys=capsys)
    assert "top1_main" in out
    write_folders(tmp_path / "other", ("ant", "cow", "dog"), training=False)
    line = refused(*evaluate, f"--data_dir={tmp_path / 'other'}", capsys=capsys)
    assert "was trained on other classes: label 1 is bee there, cow in" in line
    (tmp_path / "data" / "train" / "bee").rename(tmp_path / "data" / "train" / "zebra")
    (tmp_path / "data" / "val" / "bee").rename(tmp_path / "data" / "val" / "zebra")
    (tmp_path / "run" / "summary.json").unlink()
    assert "label 1 is bee there, cat in the data" in refused(*train, "--bad_images=skip", capsys=capsys)


def test_held_out_files_of_a_run_do_not_apply_to_its_evaluation_on_other_data(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    write_split(tmp_path / "data", "train", (4, 5, 6))
    write_split(tmp_path / "data", "validation", (7,))
    data = f"--data_dir={tmp_path / 'data'}"
    few = ("--num_label_classes=5", "--train_batch_size=4", "--train_steps=1", "--augment_name=none", *SMALL)
    run("--mode=train", data, f"--model_dir={tmp_path / 'run'}", "--holdout_shards=1", *few, capsys=capsys)
    for holdout, count in ((), 7), (("--holdout_shards=2",), 9):
        out, _ = run("--mode=eval", f"--init_checkpoint={tmp_path / 'run'}", data, *holdout, capsys=capsys)
        assert "top1_main" in out, count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode=export", "--init_checkpoint=/nonexistent"), "no checkpoint /nonexistent"),
        (("--mode=export", "--init_checkpoint="), "--init_checkpoint= is empty"),
        (("--mode=export", "--init_checkpoint={official}", "--model=efficientnet-b1"), "whose weights are for .*-b0"),
        (("--mode=eval", "--init_checkpoint={official}", "--data_dir=x"), "--model_dir would have no effect"),
        (("--mode=export", "--init_checkpoint={official}", "--export_dir=x"), "--model_dir would have no effect"),
        (("--mode=export", "--init_checkpoint={official}", "--seed=5"), "--seed would have no effect on --mode=export"),
        (("--mode=export", "--init_checkpoint={official}", "--advprop"), "--scheme=advprop would have no effect"),
        (("--mode=export", "--init_checkpoint={official}/model.ckpt.tgz"), "no checkpoint"),
        (("--mode=export", "--init_checkpoint={official}", "--checkpoint=best"), "already names one"),
        (("--mode=export", "--init_checkpoint={official}", "--momentum=0.5"), "--momentum would have no effect"),
        (("--mode=export", "--init_checkpoint={official}", "--num_label_classes=10"), "has 1000 classes"),
        (("--mode=export", "--init_checkpoint={official}"), "lacks efficientnet-b0/bl"),  # not SMALL
        (("--mode=predict", "--init_checkpoint={official}"), "needs --images"),
        (("--mode=eval", "--images=x"), "--images is read by --mode=predict, export and visualize"),
        (("--mode=eval", "--export_format=hub"), "--export_format is read by --mode=export, not by eval"),
        (("--mode=export", "--init_checkpoint={official}", "--export_format=h5"), "export_format.*saved_model.*onnx"),
        (("--mode=export", "--init_checkpoint={official}", "--export_branch=auxiliary"), "of this network are main"),
        (
            ("--mode=export", "--init_checkpoint=x", "--images=/nonexistent/*"),
            "s /nonexistent/.; there is no folder /n",
        ),
        (("--mode=predict", "--init_checkpoint=x", "--images=tests/archives/*"), "there is no folder tests/archives"),
        (("--mode=predict", "--images=x", "--data_dir=y"), "--data_dir is read by"),
        (("--allow_extra_variables",), "no effect without --init_checkpoint"),
        (("--noema",), "training without --init_checkpoint reads no weights"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, official, tmp_path, capsys):
    arguments = [argument.replace("{official}", official) for argument in arguments]
    assert re.search(message, refused(*arguments, f"--model_dir={tmp_path}", capsys=capsys))


def test_results_of_other_weights_stay_out_of_a_runs_folder(official, tmp_path, capsys):
    (tmp_path / "recipe.json").write_text("{}")
    line = refused("--mode=export", f"--init_checkpoint={official}", f"--model_dir={tmp_path}", *SMALL, capsys=capsys)
    assert "holds a run" in line


def test_preprocessing_is_never_guessed():
    facts = WeightsFacts("/x/model.ckpt", {"network.name": "efficientnet-b0", "network.preprocessing": None}, 1000)

    def settings(*arguments: str) -> flags.Settings:
        return flags.settings_from_flags(set_flags("--init_checkpoint=/x/model.ckpt", *arguments), weights=facts)

    for mode in ("export", "train_and_eval"):
        with pytest.raises(RecipeError, match="give --preprocessing"):
            settings(f"--mode={mode}")
        assert settings(f"--mode={mode}", "--preprocessing=imagenet").recipe.network.preprocessing == "imagenet"


def test_a_run_that_starts_from_weights_takes_their_network():
    """A B3 with ImageNet's preprocessing: neither needs a flag, and the recipe's expected accuracy does not apply."""
    facts = WeightsFacts("x", {"network.name": "efficientnet-b3", "network.preprocessing": "imagenet"}, 1000)
    recipe = flags.settings_from_flags(set_flags("--init_checkpoint=x", "--advprop"), weights=facts).recipe
    assert (recipe.network.name, recipe.network.preprocessing) == ("efficientnet-b3", "imagenet")
    assert recipe.init_checkpoint == "x"
    assert not recipe.provenance.measured
    assert recipe.attack == named_recipe("efficientnet-b3", "digits", "advprop").attack


def test_names_of_imagenets_classes():
    names, synsets = class_names(1000), imagenet_synsets()
    assert len(names) == len(synsets) == 1000
    assert list(synsets) == sorted(synsets)
    known = {0: ("n01440764", "tench"), 281: ("n02123045", "tabby"), 999: ("n15075141", "toilet tissue")}
    for label, known_names in known.items():
        assert (synsets[label], names[label]) == known_names
    assert class_names(3) == ("0", "1", "2")
