"""Weights from files: official checkpoints by name, value and logits; those of runs; damaged and unfitting files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import efficientnet_advprop
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.weights import (
    OfficialWeights,
    RunWeights,
    digest_of,
    load_official_checkpoint,
    open_weights,
)
from efficientnet_advprop.models.weights.official import official_names
from efficientnet_advprop.models.weights.releases import preprocessing_of_path
from efficientnet_advprop.recipes import RecipeError, WeightsRecord
from efficientnet_advprop.training.checkpoints import Checkpoints
from tests.official_checkpoint import (
    AVERAGE,
    b1_logits,
    official_shapes,
    official_tensors,
    pseudo_random_checkpoint,
    write_tf1,
)
from tests.small import assert_equal_values, new_state, one_cpu, randomize_norms, small_model, small_recipe, values


@pytest.fixture(scope="module")
def source():
    return small_model(("main",))


@pytest.fixture
def tensors(source):
    return official_tensors(source)


def other_model(branches=("main",), **options) -> tf.keras.Model:
    """The same network with other values."""
    model = small_model(branches, randomized=False, **options)
    for variable in model.variables:
        variable.assign(tf.fill(variable.shape, 0.3))
    return model


def test_names_are_the_official_ones():
    """The names of LM's converter (load_tf_weights.py): a block without expansion, one with, stem and head."""
    names = official_names(small_model(("main",)))
    root = "efficientnet-b0"
    for path, name in {
        "stem.kernel": f"{root}/stem/conv2d/kernel",
        "stem.norm.norms.main.moving_mean": f"{root}/stem/tpu_batch_normalization/moving_mean",
        "blocks.0.depthwise.kernel": f"{root}/blocks_0/depthwise_conv2d/depthwise_kernel",
        "blocks.0.depthwise.norm.norms.main.gamma": f"{root}/blocks_0/tpu_batch_normalization/gamma",
        "blocks.0.project.kernel": f"{root}/blocks_0/conv2d/kernel",
        "blocks.0.project.norm.norms.main.beta": f"{root}/blocks_0/tpu_batch_normalization_1/beta",
        "blocks.0.squeeze_excite.reduce.bias": f"{root}/blocks_0/se/conv2d/bias",
        "blocks.0.squeeze_excite.expand.kernel": f"{root}/blocks_0/se/conv2d_1/kernel",
        "blocks.1.expand.kernel": f"{root}/blocks_1/conv2d/kernel",
        "blocks.1.depthwise.norm.norms.main.gamma": f"{root}/blocks_1/tpu_batch_normalization_1/gamma",
        "blocks.1.project.kernel": f"{root}/blocks_1/conv2d_1/kernel",
        "blocks.1.project.norm.norms.main.gamma": f"{root}/blocks_1/tpu_batch_normalization_2/gamma",
        "head.kernel": f"{root}/head/conv2d/kernel",
        "classifier.bias": f"{root}/head/dense/bias",
    }.items():
        assert names[path] == name


def test_every_variable_of_a_deep_network_has_a_name_of_its_own():
    """B8: 60 of its 61 blocks expand or not as the official table says, each with the layers that go with it."""
    model = build_model("efficientnet-b8")
    names = official_names(model)
    assert set(names) == set(model.weights_by_path())
    assert len(set(names.values())) == len(names) == 1151
    # Block 3 is the last of the first stage (depth 3.6 x 1, rounded up), block 4 the first that expands.
    assert names["blocks.3.project.kernel"] == "efficientnet-b8/blocks_3/conv2d/kernel"
    assert names["blocks.4.project.kernel"] == "efficientnet-b8/blocks_4/conv2d_1/kernel"
    assert names["blocks.60.project.norm.norms.main.gamma"].endswith("blocks_60/tpu_batch_normalization_2/gamma")


@pytest.mark.parametrize("network", ["efficientnet-b0", "efficientnet-b1"])
def test_names_and_shapes_are_those_of_the_released_files(network):
    model = build_model(network)
    variables, names = model.weights_by_path(), official_names(model)
    ours = {name: variables[path].shape.as_list() for path, name in names.items()}
    assert len(names) == len(variables)
    assert ours == official_shapes(network)


def test_b1_computes_the_official_logits_at_both_sizes(tmp_path):
    """The file's raw values are all 7, so these logits can only come from the averages."""
    write_tf1(tmp_path / "model.ckpt", pseudo_random_checkpoint("efficientnet-b1"))
    model = efficientnet_advprop.build_model("efficientnet-b1", preprocessing="advprop")
    efficientnet_advprop.load_official_checkpoint(model, str(tmp_path))
    for images, logits in b1_logits():
        np.testing.assert_allclose(model(images), logits, atol=1e-5 * np.abs(logits).max(), rtol=0)


def test_averages_by_default_and_raw_values_on_request(source, tensors, tmp_path):
    path = write_tf1(tmp_path / "model.ckpt", tensors)
    model = other_model()
    assert load_official_checkpoint(model, path) == []
    assert_equal_values(values(model), values(source))
    load_official_checkpoint(model, path, ema=False)
    assert all((value == 7).all() for value in values(model).values())


def test_a_folder_means_its_newest_or_its_only_checkpoint(source, tensors, tmp_path):
    """The record in a released archive may name a folder of the machine that wrote it."""
    write_tf1(tmp_path / "model.ckpt", tensors)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt"\n')
    model = other_model()
    load_official_checkpoint(model, str(tmp_path))
    assert_equal_values(values(model), values(source))
    write_tf1(tmp_path / "other.ckpt", tensors)
    with pytest.raises(RecipeError, match=r"several checkpoints \(model.ckpt, other.ckpt\)"):
        load_official_checkpoint(model, str(tmp_path))


def test_auxiliary_branches_start_from_the_main_branch(source, tensors, tmp_path):
    model = other_model(("main", "auxiliary"))
    (note,) = load_official_checkpoint(model, write_tf1(tmp_path / "model.ckpt", tensors))
    assert "auxiliary branch: starts from the main branch's values" in note
    main, auxiliary = model.branch_variables("main"), model.branch_variables("auxiliary")
    assert len(main) == len(auxiliary) > 0
    for ours, theirs in zip(main, auxiliary, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "rename",
    [
        lambda scope, norm, count: f"{scope}/tpu_batch_normalization_{count + int(norm or 0)}",  # numbered on
        lambda scope, norm, count: f"{scope}/aux_batch_normalization{'_' + norm if norm else ''}",
    ],
)
def test_a_second_set_of_batch_norms_is_the_auxiliary_branchs(source, tensors, tmp_path, rename):
    counts = {}
    for name in tensors:
        scope, found, rest = name.partition("/tpu_batch_normalization")
        if found:
            counts.setdefault(scope, set()).add(rest.split("/")[0])
    for name, value in list(tensors.items()):
        scope, found, rest = name.partition("/tpu_batch_normalization")
        if found:
            norm, _, leaf = rest.partition("/")
            tensors[f"{rename(scope, norm.removeprefix('_'), len(counts[scope]))}/{leaf}"] = value + 1
    path = write_tf1(tmp_path / "model.ckpt", tensors)
    model = other_model(("main", "auxiliary"))
    (note,) = load_official_checkpoint(model, path)
    assert note.startswith("auxiliary branch: loaded from a second set of batch norms")
    for ours, theirs in zip(model.branch_variables("main"), model.branch_variables("auxiliary"), strict=True):
        np.testing.assert_allclose(ours + 1, theirs, rtol=1e-6)
    main_only = other_model()
    (note,) = load_official_checkpoint(main_only, path)
    assert "not loaded, as there is no auxiliary branch" in note
    assert_equal_values(values(main_only), values(source))


def test_an_incomplete_second_set_is_refused(tensors, tmp_path):
    for leaf in ("gamma", "beta", "moving_mean", "moving_variance"):
        scope = "efficientnet-b0/stem/tpu_batch_normalization"
        tensors[f"{scope}_1/{leaf}{AVERAGE}"] = tensors[f"{scope}/{leaf}{AVERAGE}"]
    with pytest.raises(RecipeError, match=r"does not have: .*stem/tpu_batch_normalization_1/beta"):
        load_official_checkpoint(other_model(("main", "auxiliary")), write_tf1(tmp_path / "model.ckpt", tensors))


def test_extra_variables_are_named_and_can_be_ignored(source, tensors, tmp_path):
    tensors["efficientnet-b0/blocks_0/gate/kernel"] = np.zeros([1])
    path = write_tf1(tmp_path / "model.ckpt", tensors)
    with pytest.raises(RecipeError, match=r"does not have: efficientnet-b0/blocks_0/gate/kernel.*allow_extra_variabl"):
        load_official_checkpoint(other_model(), path)
    model = other_model()
    (note,) = load_official_checkpoint(model, path, allow_extra_variables=True)
    assert "ignored: efficientnet-b0/blocks_0/gate/kernel" in note
    assert_equal_values(values(model), values(source))


def test_missing_and_misshapen_variables_are_named_and_nothing_is_loaded(tensors, tmp_path):
    model = other_model()
    before = values(model)
    missing = {name: value for name, value in tensors.items() if not name.startswith("efficientnet-b0/stem/conv2d")}
    with pytest.raises(RecipeError, match=r"lacks efficientnet-b0/stem/conv2d/kernel/Expo"):
        load_official_checkpoint(model, write_tf1(tmp_path / "missing", missing))
    tensors[f"efficientnet-b0/stem/conv2d/kernel{AVERAGE}"] = np.zeros([3, 3, 3, 5])
    with pytest.raises(RecipeError, match=r"stem/conv2d/kernel\S* \[3, 3, 3, 5\] instead of \[3, 3, 3, 8\]"):
        load_official_checkpoint(model, write_tf1(tmp_path / "misshapen", tensors))
    assert_equal_values(values(model), before)


def test_a_file_without_averages_says_how_to_load_it(tensors, tmp_path):
    raw = {name: value for name, value in tensors.items() if not name.endswith(AVERAGE)}
    path = write_tf1(tmp_path / "model.ckpt", raw)
    with pytest.raises(RecipeError, match=r"no averaged copies.*ema=False"):
        load_official_checkpoint(other_model(), path)
    load_official_checkpoint(other_model(), path, ema=False)


def test_the_classifier_alone_is_skipped_and_only_on_request(source, tensors, tmp_path):
    path = write_tf1(tmp_path / "model.ckpt", tensors)
    model = build_model(source.spec, 4)
    before = values(model)
    with pytest.raises(RecipeError, match=r"head/dense/kernel\S* \[\d+, 10\] instead of \[\d+, 4\]"):
        load_official_checkpoint(model, path)
    (note,) = load_official_checkpoint(model, path, skip_other_classifier=True)
    assert f"efficientnet-b0/head/dense/kernel{AVERAGE}" in note
    assert f"efficientnet-b0/head/dense/bias{AVERAGE}" in note
    after, loaded = values(model), values(source)
    for name, value in after.items():
        np.testing.assert_array_equal(value, (before if name.startswith("classifier") else loaded)[name])
    wider = build_model(source.spec, 4, width_coefficient=0.5)
    with pytest.raises(RecipeError, match="does not fit"):
        load_official_checkpoint(wider, path, skip_other_classifier=True)


def test_files_that_cannot_be_read_are_one_clear_line_each(tensors, tmp_path):
    model, before = other_model(), values(other_model())
    path = Path(write_tf1(tmp_path / "model.ckpt", tensors))
    index, data = path.with_name("model.ckpt.index"), path.with_name("model.ckpt.data-00000-of-00001")
    (tmp_path / "empty").mkdir()

    def message(where) -> str:
        with pytest.raises(RecipeError) as refused:
            load_official_checkpoint(model, str(where))
        assert "\n" not in str(refused.value)
        return str(refused.value)

    assert "neither a folder nor a file" in message(tmp_path / "nowhere")
    assert f"no checkpoint in {tmp_path / 'empty'}" in message(tmp_path / "empty")
    for version in ("9", "10"):
        (tmp_path / "export" / version).mkdir(parents=True)
        (tmp_path / "export" / version / "saved_model.pb").write_bytes(b"")
    assert message(tmp_path / "export").endswith(f"; give {tmp_path}/export/10, which is a SavedModel")
    whole = data.read_bytes()
    for size in (0, 100, len(whole) // 2):
        data.write_bytes(whole[:size])
        assert message(path) == (
            f"checkpoint {path} is incomplete ({data}: {size:,} bytes): download, unpack or copy it again"
        )
    data.unlink()
    assert "cannot be read" in message(path)
    data.write_bytes(whole)
    index_bytes = index.read_bytes()
    for size in (0, 50, len(index_bytes) // 2):
        index.write_bytes(index_bytes[:size])
        assert "cannot be read" in message(path)
    index.write_bytes(index_bytes)
    other = {name.replace("efficientnet-b0", "efficientnet-b3"): value for name, value in tensors.items()}
    assert "holds efficientnet-b3, not efficientnet-b0" in message(write_tf1(tmp_path / "b3", other))
    assert "is not an official EfficientNet's" in message(write_tf1(tmp_path / "none", {"kernel": np.ones(3)}))
    assert_equal_values(values(model), before)


@pytest.mark.parametrize(
    ("path", "preprocessing"),
    [
        ("gs://cloud-tpu-checkpoints/efficientnet/advprop/efficientnet-b7", "advprop"),
        ("/data/ckptsaug/efficientnet-b0/model.ckpt", "imagenet"),
        ("/data/ckpts/advprop/efficientnet-b0", "advprop"),
        ("/home/advprop/noisystudent/efficientnet-l2", "imagenet"),
        ("randaug/efficientnet-b5", "imagenet"),
        ("/data/efficientnet-b0", None),
        ("/data/my-advprop-weights/efficientnet-b0", None),
        ("/data/efficientnet-b0/advprop", None),  # a file of that name
    ],
)
def test_official_folders_determine_the_preprocessing(path, preprocessing):
    assert preprocessing_of_path(path) == preprocessing


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run's folder with one checkpoint whose raw and averaged weights, and whose branches, differ."""
    folder = str(tmp_path_factory.mktemp("run"))
    recipe = small_recipe()
    state = new_state(recipe, one_cpu())
    randomize_norms(state.model)
    for variable in state.average_model.variables:
        variable.assign(np.random.default_rng(1).uniform(0.5, 1.5, variable.shape))
    names = tuple("abcdefghij")
    Checkpoints(state, WeightsRecord(recipe, names), folder, folder, 5).save()
    return folder, recipe, values(state.model), values(state.average_model)


def test_the_content_determines_the_kind_of_checkpoint(run_folder, tensors, tmp_path):
    folder, recipe, *_ = run_folder
    weights = open_weights(folder)
    assert isinstance(weights, RunWeights)
    assert weights.facts.recipe == recipe
    assert weights.class_names == tuple("abcdefghij")
    assert (weights.step, weights.facts.num_classes) == (0, 10)
    assert weights.facts.settings["network.preprocessing"] == recipe.network.preprocessing
    official = open_weights(write_tf1(tmp_path / "advprop" / "model.ckpt", tensors))
    assert isinstance(official, OfficialWeights)
    assert official.facts.settings == {"network.name": "efficientnet-b0", "network.preprocessing": "advprop"}
    assert official.facts.num_classes == 10
    with pytest.raises(RecipeError, match=r"neither an official .* holds kernel"):
        open_weights(write_tf1(tmp_path / "other", {"kernel": np.ones(3)}))


def test_a_runs_checkpoint_can_be_loaded_without_its_folder(run_folder, tmp_path):
    folder, recipe, raw, averaged = run_folder
    for file in Path(folder, "checkpoints").glob("step-0.*"):
        shutil.copy(file, tmp_path)
    weights = open_weights(str(tmp_path / "step-0"))
    model = build_model(recipe.network, 10, recipe.branches)
    assert weights.load(model) == []
    assert_equal_values(values(model), averaged)
    weights.load(model, ema=False)
    assert_equal_values(values(model), raw)
    with pytest.raises(RecipeError, match="allow_extra_variables is for official"):
        weights.load(model, allow_extra_variables=True)


def test_a_run_of_two_branches_starts_networks_with_one_and_with_three(run_folder):
    folder, recipe, _, averaged = run_folder
    weights = open_weights(folder)
    main_only = build_model(recipe.network, 10)
    assert weights.load(main_only) == []
    assert_equal_values(values(main_only), {path: averaged[path] for path in main_only.weights_by_path()})
    three = build_model(recipe.network, 10, ("main", "auxiliary", "augmented"))
    (note,) = weights.load(three)
    assert note.startswith("augmented branch: starts from the main branch's values")
    loaded = values(three)
    for path, value in loaded.items():
        np.testing.assert_array_equal(value, averaged[path.replace(".augmented.", ".main.")])


def test_a_runs_checkpoint_for_other_classes_keeps_the_new_classifier(run_folder):
    folder, recipe, _, averaged = run_folder
    model = build_model(recipe.network, 3)
    with pytest.raises(RecipeError, match="does not fit"):
        open_weights(folder).load(model)
    (note,) = open_weights(folder).load(model, skip_other_classifier=True)
    assert "another number of classes (3 here)" in note
    np.testing.assert_array_equal(model.weights_by_path()["stem.kernel"], averaged["stem.kernel"])


def test_a_digest_depends_on_values_and_not_on_the_path(tmp_path):
    def written(name, value):
        return tf.train.Checkpoint(kernel=tf.Variable([1.0, value])).write(str(tmp_path / name))

    one, same, other = (digest_of(written(name, value)) for name, value in (("a", 2.0), ("b", 2.0), ("c", 3.0)))
    assert one == same != other
