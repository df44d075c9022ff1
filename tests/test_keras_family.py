"""`--model=keras:NAME` from training to export, on a tiny network."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop import checkpoint_names
from efficientnet_advprop.recipes import from_json
from efficientnet_advprop.training.step import make_replica_step
from tests.command_line import refused, run, run_main
from tests.small import new_state, small_recipe, train_iterator, values
from tests.tiny_keras import TINY, tiny, tiny_networks

STEPS = ("--train_steps=6", "--steps_per_checkpoint=3", "--iterations_per_loop=3", "--steps_per_eval=6")
RUN = (
    f"--model={TINY}",
    "--advprop",
    "--train_batch_size=16",
    "--survival_prob=0.5",
    "--micro_batches=2",
    "--eval_batch_size=72",
    *STEPS,
)
# Loads exports with TensorFlow alone.
LOAD = """
import sys
import numpy as np
import tensorflow as tf
served, hub = (tf.saved_model.load(folder) for folder in sys.argv[1:])
images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
logits = served.signatures["serving_default"](images=tf.constant(images))["logits"]
np.testing.assert_allclose(hub(images / 255), logits, rtol=1e-3, atol=1e-4)
assert np.any(hub(images / 255, training=True) != hub(images / 255, training=True))
assert len(served.network_variables) == len(hub.variables) == 2 + 3 + 4 + 4 + 3
assert not [name for name in sys.modules if name.startswith("efficientnet_advprop")]
"""


@pytest.fixture(scope="module", autouse=True)
def tiny_network():
    with tiny_networks():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run_main(*RUN, f"--model_dir={folder}")
    return folder


def tensors(checkpoint) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(checkpoint))
    names = reader.get_variable_to_shape_map().keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}  # with names that Keras counts
    return {name: reader.get_tensor(name) for name in names}


def test_a_run_records_its_network_and_evaluates_all_branches(folder):
    recipe = from_json((folder / "recipe.json").read_text())
    assert (recipe.network.name, recipe.network.preprocessing) == (TINY, "keras")
    assert {"top1_main", "top1_auxiliary", "top1_pgd"} < json.loads((folder / "summary.json").read_text()).keys()


def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(folder, tmp_path):
    """With dropout, drop connect, random starts, micro-batches."""
    place = tmp_path / "checkpoints"
    place.mkdir()
    shutil.copy(folder / "recipe.json", tmp_path)
    for file in (folder / "checkpoints").glob("step-3.*"):
        shutil.copy(file, place)
    checkpoint_names.record(str(place), 3, 5)
    run_main(*RUN, f"--model_dir={tmp_path}")
    whole, parts = (tensors(path / "checkpoints" / "step-6") for path in (folder, tmp_path))
    start = tensors(place / "step-3")
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value, err_msg=name)
    kernels = [name for name in whole if name.startswith("model/") and "/kernel/.ATTRIBUTES" in name]
    assert len(kernels) == 3
    assert all(np.any(start[name] != whole[name]) for name in kernels)


def test_evaluation_and_exports_of_the_main_norms_alone(folder, tmp_path, capsys):
    out, _ = run("--mode=eval", f"--model_dir={folder}", capsys=capsys)
    assert "top1_auxiliary" in out
    run_main("--mode=export", f"--model_dir={folder}", "--export_format=hub", f"--export_dir={tmp_path}")
    saved = json.loads((folder / "summary.json").read_text())["saved_model"]
    (hub,) = tmp_path.glob("**/classification")
    out, _ = run("--mode=eval", f"--init_checkpoint={saved}", capsys=capsys)
    assert "top1_main" in out
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, saved, str(hub)],
        cwd=tmp_path,
        env=environment | {"TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_another_scheme_starts_from_its_checkpoint(folder, tmp_path, capsys):
    arguments = ("--scheme=fast_advprop", "--train_batch_size=16", "--train_steps=1", f"--model_dir={tmp_path}")
    out, _ = run("--mode=train", f"--init_checkpoint={folder}", *arguments, capsys=capsys)
    assert f"{TINY} of a run on digits, step 6" in out
    assert from_json((tmp_path / "recipe.json").read_text()).network.name == TINY


def test_a_study(tmp_path):
    run_main(
        "--mode=study",
        f"--models={TINY}",
        "--schemes=vanilla,joint",
        "--seeds=1",
        "--train_steps=1",
        "--train_batch_size=16",
        "--eval_batch_size=72",
        "--benchmarks=clean",
        "--benchmark_images=72",
        f"--model_dir={tmp_path}",
    )
    assert TINY in (tmp_path / "report.md").read_text()
    assert not [path for path in tmp_path.glob("**/*") if ":" in path.name]


def test_a_run_from_keras_weights(tmp_path, capsys):
    original = tiny(include_top=False, input_shape=(32, 32, 3))
    original.save_weights(tmp_path / "tiny.h5")
    arguments = ("--mode=train", f"--model={TINY}", "--train_batch_size=16", "--train_steps=1", "--optimizer=momentum")
    weights = (f"--keras_weights={tmp_path}/tiny.h5", "--base_learning_rate=1e-9")
    out, _ = run(*arguments, *weights, f"--model_dir={tmp_path}/run", capsys=capsys)
    assert "tiny.h5, of tf.keras.applications" in out
    stored = tensors(tmp_path / "run" / "checkpoints" / "step-1")
    kernel = stored["average_model/stem/layers/0_Conv2D/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
    np.testing.assert_allclose(kernel, original.weights[0], atol=1e-6)
    (tmp_path / "other.h5").write_bytes(b"")
    folder = f"--model_dir={tmp_path}/other"
    line = refused(*arguments, f"--keras_weights={tmp_path}/other.h5", folder, capsys=capsys)
    assert "other.h5 are not those of" in line


@pytest.mark.parametrize(("micro_batches", "synchronized"), [(2, False), (1, True)])
def test_two_replicas_take_a_step(two_replicas, micro_batches, synchronized):
    recipe = small_recipe(
        network__name=TINY,
        **{f"network__{name}": 1.0 for name in ("width_coefficient", "depth_coefficient")},
        network__preprocessing="keras",
        network__survival_prob=0.5,
        network__input_image_size=32,
        train_batch_size=16,
        micro_batches=micro_batches,
        network__sync_batch_norm=synchronized,
    )
    state = new_state(recipe, two_replicas)
    before = values(state.model)
    step, _ = make_replica_step(state, recipe, recipe.phases[0].terms, 2)
    two_replicas.run(tf.function(step), args=(next(train_iterator(recipe, two_replicas)),))
    for path, variable in state.model.weights_by_path().items():
        if path.endswith("moving_mean"):  # of each replica's own images, or of all
            first, second = (two_replicas.experimental_local_results(variable)[replica] for replica in range(2))
            np.testing.assert_equal(np.array_equal(first, second), synchronized, err_msg=path)
    after = values(state.model)
    assert all(np.all(np.isfinite(value)) for value in after.values())
    # The learning rate of the first step of the warm-up is 0.
    assert all(np.any(after[path] != before[path]) for path in after if ".moving_" in path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model=keras:Nothing",), "did you mean keras:"),
        (("--model=keras:VGG16",), "(--help=model tells more)"),
        (("--model=keras:Xception", "--input_image_size=64"), "takes images from 71 px on"),
        ((f"--model={TINY}", "--remat"), f"--remat recomputes blocks, which {TINY} does not have"),
        ((f"--model={TINY}", "--advprop", "--attack_bn=batch"), "have 'running' alone"),
        ((f"--model={TINY}", "--depth_coefficient=2"), f"depth_coefficient 2.0: {TINY} has 1.0 alone"),
        (("--keras_weights=imagenet",), "are for the networks keras:NAME, not for efficientnet-b0"),
        ((f"--model={TINY}", "--keras_weights=/nothing.h5"), "/nothing.h5 is no file"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, message, tmp_path, capsys):
    assert message in refused(*arguments, f"--model_dir={tmp_path}/run", capsys=capsys)
    assert not list(tmp_path.iterdir())
