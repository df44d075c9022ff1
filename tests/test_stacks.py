"""The two stacks (requirements.txt): runs, checkpoints and exports of each work on the other.

Needs the environments of both, as the Makefile makes them.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.command_line import ROOT
from tests.stack_commands import run_commands
from tests.test_records import COMMAND, losses, read_lines

OTHER = ROOT / (".venv" if sys.version_info >= (3, 12) else ".venv-tf221")

pytestmark = pytest.mark.skipif(
    not (OTHER / ".installed").exists() or Path(sys.prefix) == OTHER,
    reason=f"the environment of the other stack, {OTHER.name}, is not installed",
)

# RMSProp: Adam moves weights whose gradient is zero in theory, such as the bias before a norm, by its rounding errors.
TRAIN = (
    *COMMAND,
    "--optimizer=rmsprop",
    "--base_learning_rate=0.016",
    "--steps_per_checkpoint=3",
    "--keep_checkpoint_max=2",
)
STACKS = ("this", "other")


def on(stack: str, commands: Sequence[Sequence[str]], exports: Sequence[tuple[str, str, str, str]] = ()) -> None:
    """Run commands and exported networks in this process, or in one of the other stack."""
    if stack == "this":
        run_commands(commands, exports)
        return
    done = subprocess.run(
        [OTHER / "bin" / "python", "-m", "tests.stack_commands", json.dumps(commands), json.dumps(exports)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Images, and under each stack's name a run of six steps with its exports."""
    folder = tmp_path_factory.mktemp("stacks")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    np.save(folder / "images.npy", pixels.astype(np.float32) / 255)
    for number, image in enumerate(pixels):
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    for stack in STACKS:
        model_dir = f"--model_dir={folder / stack}"
        export = ("--mode=export", model_dir)
        on(stack, [(*TRAIN, model_dir), export, (*export, "--export_format=hub")])
    return folder


@pytest.fixture(scope="module")
def moved(folder) -> Path:
    """The same folder after both stacks have read and resumed the run of either."""
    for reader in STACKS:
        commands, exports = [], []
        for writer in STACKS:
            run, to = folder / writer, folder / f"{writer}-on-{reader}"
            shutil.copytree(run, to, ignore=shutil.ignore_patterns("step-6*", "saved_model"))
            (to / "checkpoints" / "checkpoint").write_text('model_checkpoint_path: "step-3"\n')
            predict = ("--mode=predict", f"--images={folder}/*.png", f"--output={to}/checkpoint.npy")
            commands += [(*predict, f"--model_dir={run}"), (*TRAIN, f"--model_dir={to}")]
            for kind, path in (("saved_model", "saved_model/1"), ("hub", "saved_model/hub/1/classification")):
                exports.append((kind, f"{run}/{path}", f"{folder}/images.npy", f"{to}/{kind}.npy"))
        on(reader, commands, exports)
    return folder


def weights_of(run: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / "step-6"))
    names = [name for name, dtype in reader.get_variable_to_dtype_map().items() if dtype == tf.float32]
    return {name: reader.get_tensor(name) for name in names}


def assert_same_training(run: Path, other: Path, first_step: int) -> None:
    ours, theirs = (losses(read_lines(path / "metrics.jsonl"), first_step) for path in (run, other))
    assert list(ours) == list(range(first_step, 7))
    for step, values in ours.items():
        assert theirs[step] == pytest.approx(values, rel=1e-5)
    weights, others = weights_of(run), weights_of(other)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        np.testing.assert_allclose(others[name], value, rtol=1e-5, atol=4e-6, err_msg=name)


def test_seeded_runs_are_equal(folder):
    recipes = [(folder / stack / "recipe.json").read_text() for stack in STACKS]
    assert recipes[0] == recipes[1]
    assert_same_training(folder / "this", folder / "other", first_step=1)


@pytest.mark.parametrize(("writer", "reader"), [STACKS, STACKS[::-1]])
def test_a_run_of_one_resumes_on_the_other(moved, writer, reader):
    resumed = moved / f"{writer}-on-{reader}"
    lines = read_lines(resumed / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert_same_training(resumed, moved / writer, first_step=4)


@pytest.mark.parametrize("what", ["checkpoint", "saved_model", "hub"])
@pytest.mark.parametrize("writer", STACKS)
def test_what_one_writes_computes_the_same_on_the_other(moved, writer, what):
    logits = [np.load(moved / f"{writer}-on-{reader}" / f"{what}.npy") for reader in STACKS]
    probabilities = [tf.nn.softmax(values).numpy() for values in logits]
    assert np.ptp(probabilities[0], axis=0).max() > 1e-4  # the images differ
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=1e-5)
