"""Weights of timm and torchvision in safetensors files: what is loaded, what is refused, and the command line."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.weights import TimmWeights, digest_of, load_weights, open_weights
from efficientnet_advprop.recipes import RecipeError
from tests.command_line import refused, run
from tests.small import assert_equal_values, randomize_norms, values
from tests.test_pretrained import SMALL, small_b0, write_imagenet
from tests.timm_files import COUNTER, advprop_config, tensors_of, write
from tests.two_blocks import two_block_networks

THREE = ("main", "auxiliary", "augmented")


@pytest.fixture(scope="module", autouse=True)
def short_networks():
    with two_block_networks():
        yield


@pytest.fixture(scope="module")
def source():
    """A network with other values than a new one."""
    return randomized(other_model(THREE))


@pytest.fixture
def tensors(source):
    return tensors_of(source)


def other_model(branches=("main",), num_classes=10, **options) -> tf.keras.Model:
    """The same network with other values."""
    return build_model(dataclasses.replace(small_b0(), **options), num_classes, branches)


def randomized(model: tf.keras.Model) -> tf.keras.Model:
    randomize_norms(model)
    return model


def test_a_file_with_its_config_and_a_files_path(source, tensors, tmp_path):
    folder = write(tmp_path / "hub", tensors, advprop_config(source))
    for path in (folder, f"{folder}/model.safetensors"):
        weights = open_weights(path)
        assert isinstance(weights, TimmWeights)
        assert weights.facts.settings == {"network.name": "efficientnet-b0", "network.preprocessing": "advprop"}
        assert weights.facts.num_classes == 10
        model = other_model()
        weights.load(model)
        assert_equal_values(values(model), {path: values(source)[path] for path in model.weights_by_path()})
    assert digest_of(weights.facts.path) == digest_of(f"{folder}/model.safetensors")
    changed = write(tmp_path / "changed", {**tensors, "bn1.bias": tensors["bn1.bias"] + 1})
    assert digest_of(weights.facts.path) != digest_of(f"{changed}/model.safetensors")


def test_branches_without_norms_in_the_file_start_from_the_main_branch(source, tmp_path):
    model = other_model(THREE)
    notes = load_weights(model, write(tmp_path, tensors_of(source, 2), advprop_config(source)))
    assert "auxiliary branch: loaded from aux_bn.0" in notes
    assert any(note.startswith("augmented branch: starts from the main branch's values") for note in notes)
    ours, theirs = values(model), values(source)
    for path, value in ours.items():
        np.testing.assert_array_equal(value, theirs[path.replace(".augmented.", ".main.")])


def test_norms_without_a_branch_are_named_and_incomplete_ones_refused(source, tmp_path):
    tensors = tensors_of(source, 3)
    model = other_model()
    notes = load_weights(model, write(tmp_path, tensors, advprop_config(source)))
    assert re.match(
        r"not loaded, as there is no branch for them: blocks.0.0.bn1.aux_bn.0.bias.* and \d+ more", notes[0]
    )
    assert_equal_values(values(model), {path: values(source)[path] for path in model.weights_by_path()})
    del tensors["bn2.aux_bn.1.running_mean"]
    with pytest.raises(RecipeError, match=r"lacks bn2.aux_bn.1.running_mean, which efficientnet-b0 needs"):
        load_weights(other_model(THREE), write(tmp_path, tensors, advprop_config(source)))


@pytest.mark.parametrize("number", [np.float16, tf.bfloat16.as_numpy_dtype])
def test_numbers_of_half_precision_are_exact(source, tensors, number, tmp_path):
    halves = {name: value if name.endswith(COUNTER) else value.astype(number) for name, value in tensors.items()}
    model = other_model()
    load_weights(model, write(tmp_path, halves, advprop_config(source)))
    expected = {path: values(source)[path].astype(number).astype(np.float32) for path in model.weights_by_path()}
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, expected[path])


def test_another_classifier_is_skipped_on_request_alone(source, tensors, tmp_path):
    path = write(tmp_path, tensors, advprop_config(source))
    model = other_model(num_classes=4)
    before = values(model)
    with pytest.raises(RecipeError, match=r"classifier.weight \[\d+, 10\] instead of \[\d+, 4\]"):
        load_weights(model, path)
    assert_equal_values(values(model), before)
    notes = load_weights(model, path, skip_other_classifier=True)
    assert "another number of classes (4 here): classifier.weight" in notes[0]
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, (before if name.startswith("classifier") else values(source))[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_stem.weight": None}, "lacks conv_stem.weight, which efficientnet-b0 needs"),
        ({"bn1.running_var": None, "bn1.weight": None}, "lacks bn1.running_var, bn1.weight"),
        ({"conv_head.weight": np.zeros([5, 4, 1, 1])}, r"conv_head.weight \[1, 1, 4, 5\] instead of"),
        ({"blocks.0.0.se.gate": np.zeros(3)}, r"does not have: blocks.0.0.se.gate \(--allow_extra_variables"),
        ({"bn1.weight": np.zeros(8, np.int32)}, "bn1.weight is I32; read are F16, BF16, F32, F64"),
        ({"classifier.bias": None}, "lacks classifier.bias, which efficientnet-b0 needs"),
        ({"classifier.bias": np.float32(1)}, r"model.safetensors: classifier.bias has the shape \[\], not one number"),
        ({"classifier.bias": np.zeros([0])}, r"classifier.bias has the shape \[0\], not one number per class"),
        ({"classifier.bias": np.zeros([10, 1])}, r"classifier.bias has the shape \[1, 10\], not one number per class"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_loaded(source, tensors, change, message, tmp_path):
    model = other_model()
    before = values(model)
    changed = {name: value for name, value in (tensors | change).items() if value is not None}
    with pytest.raises(RecipeError, match=message):
        load_weights(model, write(tmp_path, changed, advprop_config(source)))
    assert_equal_values(values(model), before)


def test_extra_tensors_can_be_ignored(source, tensors, tmp_path):
    path = write(tmp_path, {**tensors, "ema_step": np.zeros([1])}, advprop_config(source))
    notes = load_weights(other_model(), path, allow_extra_variables=True)
    assert "not in efficientnet-b0 and ignored: ema_step" in notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as safetensors"),
        (b"version https://git-lfs.github.com/spec/v1", "cannot be read as safetensors"),
        (bytes(range(200)) * 9, "cannot be read as safetensors"),
        (None, "cannot be read as safetensors.*not fully covered"),  # cut short
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tensors, content, message, tmp_path):
    file = Path(write(tmp_path, tensors), "model.safetensors")
    file.write_bytes(file.read_bytes()[:-5] if content is None else content)
    with pytest.raises(RecipeError, match=message) as error:
        open_weights(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{folder}/none.safetensors", "no file .*/none.safetensors"),
        ("{folder}", "no checkpoint in .*no file .*index or model.safetensors"),
        ("{folder}/weights.pth", "a single file, .* if it is PyTorch's, save its state dict as .safetensors"),
        ("gs://bucket/model.safetensors", "is remote: .* copy it"),
    ],
)
def test_paths_without_a_file(path, message, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"PK")
    with pytest.raises(RecipeError, match=message):
        open_weights(path.replace("{folder}", str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "config.json cannot be read: not a record: Expecting"),
        ("[1]", r"config.json cannot be read: .* \[1\], not an object"),
        ("{}", "config.json cannot be read: architecture is missing"),
        ("[" * 100_000, "config.json cannot be read: .* nested too deeply"),
        ({"architecture": None}, "config.json cannot be read: architecture is None, not of type str"),
        ({"num_classes": "10"}, "config.json cannot be read: num_classes is '10', not of type int"),
        ({"num_classes": float("nan")}, "num_classes is nan, not of type int"),
        ({"num_classes": -1}, "num_classes -1 is outside"),
        ({"pretrained_cfg": {"input_size": [3, [1], [2]]}}, r"pretrained_cfg.input_size is \[1\], not of type int"),
        ({"pretrained_cfg": {"input_size": [3, 0, 0]}}, r"pretrained_cfg.input_size 0 is outside"),
        ({"pretrained_cfg": {"crop_pct": float("nan")}}, "pretrained_cfg.crop_pct nan is not a finite number"),
        ({"pretrained_cfg": {"mean": ["0"]}}, r"pretrained_cfg.mean is \['0'\], not of type tuple"),
        # Of the same names and shapes, but with other padding and epsilon.
        ({"architecture": "efficientnet_b0"}, "architecture efficientnet_b0 is none of tf_efficientnet_b0, "),
        ({"architecture": "resnet50d"}, "architecture resnet50d is none of .*resnet50, "),
        ({"num_classes": 9}, "has 10 classes, and config.json beside it 9"),
        ({"global_pool": "max"}, "global_pool 'max'; efficientnet-b0 has avg"),
        ({"pretrained_cfg": 3}, "pretrained_cfg is 3, not an object"),
        ({"pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}}, r"mean \[0.0, 0.0, 0.0\] and std .*\(advprop\)"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(source, tensors, change, message, tmp_path):
    path = write(tmp_path, tensors)
    config = change if isinstance(change, str) else json.dumps(advprop_config(source) | change)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(RecipeError, match=message) as error:
        open_weights(path)
    assert "\n" not in str(error.value)


def test_an_older_config_without_pretrained_cfg(source, tensors, tmp_path):
    config = advprop_config(source)
    weights = open_weights(write(tmp_path, tensors, config | config.pop("pretrained_cfg") | {"num_classes": None}))
    assert weights.facts.settings["network.preprocessing"] == "advprop"


def test_a_config_without_mean_leaves_the_preprocessing_open(source, tensors, tmp_path):
    config = advprop_config(source) | {"pretrained_cfg": {"input_size": [3, 64, 64]}}
    path = write(tmp_path, tensors, config)
    assert open_weights(path).facts.settings["network.preprocessing"] is None
    (note,) = load_weights(other_model(), path)
    assert note.endswith("px 64; this network's images have 32 px (--input_image_size)")


def test_other_networks_preprocessings_and_raw_values_are_refused(source, tensors, tmp_path):
    path = write(tmp_path, tensors, advprop_config(source))
    with pytest.raises(RecipeError, match=r"needs preprocessing advprop, by config.json .* is imagenet"):
        load_weights(other_model(preprocessing="imagenet"), path)
    with pytest.raises(RecipeError, match="holds efficientnet-b0, not efficientnet-b1"):
        load_weights(other_model(name="efficientnet-b1"), path)
    with pytest.raises(RecipeError, match=r"--noema: .* holds one set of weights"):
        load_weights(other_model(), path, ema=False)


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> str:
    """A narrow B0 of 1,000 classes, as a folder of the Hugging Face hub."""
    model = randomized(other_model(num_classes=1000))
    return write(tmp_path_factory.mktemp("hub"), tensors_of(model), advprop_config(model))


def test_an_export_and_an_evaluation_of_the_hubs_folder(hub, tmp_path, capsys):
    out, _ = run("--mode=export", f"--init_checkpoint={hub}", f"--export_dir={tmp_path / 'out'}", *SMALL, capsys=capsys)
    assert "weights: as stored, timm's efficientnet-b0" in out
    assert "preprocessing: advprop (recorded with them)" in out
    assert "px 224, crop_pct 0.875, interpolation bicubic; this network's images have 32 px" in out
    assert not re.search(r"the checkpoint: 0\.0 MB", out)
    loaded = tf.saved_model.load(str(tmp_path / "out" / "1"))
    images = tf.random.stateless_uniform([2, 32, 32, 3], [0, 1], 0, 255)
    model = other_model(num_classes=1000)
    load_weights(model, hub)
    expected = model(images)
    logits = loaded.signatures["serving_default"](images=images)["logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())
    write_imagenet(tmp_path / "data")
    data = (f"--data_dir={tmp_path / 'data'}", "--num_eval_images=3", "--eval_batch_size=3")
    out, _ = run("--mode=eval", f"--init_checkpoint={hub}", *data, *SMALL, capsys=capsys)
    assert re.search(r"top1_main +\d+\.\d\d %", out)


def test_fine_tuning_on_other_classes_with_advprop(hub, tmp_path, capsys):
    command = ("--mode=train", "--advprop", f"--init_checkpoint={hub}", f"--model_dir={tmp_path}", "--train_steps=1")
    out, _ = run(*command, *SMALL, capsys=capsys)
    assert "auxiliary branch: starts from the main branch's values" in out
    assert "not loaded, for another number of classes (10 here): classifier.weight" in out
    weights = open_weights(str(tmp_path))
    assert weights.facts.settings["network.preprocessing"] == "advprop"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preprocessing=imagenet",), "--preprocessing=imagenet contradicts .*, whose weights are for advprop"),
        (("--model=resnet-50",), "--model=resnet-50 contradicts .* for efficientnet-b0"),
        (("--noema",), "holds one set of weights"),
        (("--num_label_classes=10",), "has 1000 classes"),
    ],
)
def test_flags_that_contradict_the_file(hub, arguments, message, tmp_path, capsys):
    command = ("--mode=export", f"--init_checkpoint={hub}", f"--export_dir={tmp_path}", *SMALL)
    assert re.search(message, refused(*command, *arguments, capsys=capsys))
