"""What killed and edited runs leave, and how the same command goes on."""

import json
import os
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from efficientnet_advprop import checkpoint_names, locks
from efficientnet_advprop.export import ExportedWeights
from efficientnet_advprop.models.weights import open_weights
from efficientnet_advprop.recipes import RecipeError, WeightsRecord, override
from efficientnet_advprop.training import run_folder
from efficientnet_advprop.training.checkpoints import Checkpoints, find
from tests.command_line import refused, run, run_main
from tests.small import new_state, one_cpu, small_recipe
from tests.two_blocks import two_block_networks

NARROW = ("--width_coefficient=0.25", "--depth_coefficient=0.2", "--input_image_size=16", "--train_batch_size=16")


def write(folder: Path, *steps: int) -> None:
    for step in steps:
        tf.train.Checkpoint(step=tf.Variable(step)).write(str(folder / f"step-{step}"))


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


DATA = "data-00000-of-00001"
# What a kill or a loss of power does to a folder with steps 2 and 4, and the step to go on from.
FAULTS = {
    "no record": (lambda folder: (folder / "checkpoint").unlink(), 4),
    "an empty record": (lambda folder: (folder / "checkpoint").write_bytes(b""), 4),
    "no text": (lambda folder: (folder / "checkpoint").write_bytes(b'\xff\x00"\nmodel_checkpoint_path: "\\x"'), 4),
    "a record of what is gone": (
        lambda folder: (folder / "checkpoint").write_text('model_checkpoint_path: "step-9"'),
        4,
    ),
    "an empty index": (lambda folder: cut(folder / "step-4.index", 0), 2),
    "empty data": (lambda folder: cut(folder / f"step-4.{DATA}", 0), 2),
    "no data": (lambda folder: (folder / f"step-4.{DATA}").unlink(), 2),
    "no index": (lambda folder: (folder / "step-4.index").unlink(), 2),
    "half an index, no record": (
        lambda folder: ((folder / "checkpoint").unlink(), cut(folder / "step-4.index", 100)),
        2,
    ),
    "half the data, no record": (
        lambda folder: ((folder / "checkpoint").unlink(), cut(folder / f"step-4.{DATA}", 3)),
        2,
    ),
    "nothing": (lambda folder: (shutil.rmtree(folder), folder.mkdir(), (folder / "step-2_temp").mkdir()), None),
}


@pytest.mark.parametrize("name", ["run", "run [1]"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_newest_whole_checkpoint_is_used_and_said(tmp_path, fault, name):
    folder = tmp_path / name
    folder.mkdir()
    write(folder, 2, 4)
    checkpoint_names.record(str(folder), 4, keep_max=2)
    assert checkpoint_names.newest(str(folder)) == (f"{folder}/step-4", None)
    damage, step = FAULTS[fault]
    damage(folder)
    path, line = checkpoint_names.newest(str(folder))
    assert path == (None if step is None else f"{folder}/step-{step}")
    assert ("holds no whole checkpoint" if step is None else f"step-{step}, the newest whole one, is used") in line
    assert "\n" not in line


def test_a_record_keeps_the_newest_and_removes_what_killed_processes_left(tmp_path):
    write(tmp_path, 1, 2, 3, 4, 9)
    (tmp_path / "step-2.index").unlink()
    (tmp_path / "step-1_temp").mkdir()
    (tmp_path / "mine.txt").write_text("")
    checkpoint_names.record(str(tmp_path), 4, keep_max=2)
    steps = [f"step-{step}.{part}" for step in (3, 4, 9) for part in (DATA, "index")]
    assert sorted(os.listdir(tmp_path)) == sorted(["checkpoint", "mine.txt", *steps])
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "step-4")
    assert tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths == [
        str(tmp_path / "step-3"),
        str(tmp_path / "step-4"),
    ]


def test_an_empty_folder_is_a_new_run_without_a_word(tmp_path):
    assert checkpoint_names.newest(str(tmp_path)) == checkpoint_names.newest(str(tmp_path / "none")) == (None, None)


def saved(folder: str, recipe, names="0123456789"):
    with two_block_networks():
        return Checkpoints(new_state(recipe, one_cpu()), WeightsRecord(recipe, tuple(names)), folder, folder, 2)


def test_a_run_in_a_folder_with_brackets_is_found_again(tmp_path, capsys):
    folder, recipe = str(tmp_path / "b0 [first]"), small_recipe("vanilla", train_steps=3)
    checkpoints = saved(folder, recipe)
    for step in (1, 2, 3):
        checkpoints._state.optimizer.iterations.assign(step)
        checkpoints.save()
    checkpoints.save_if_best({"top1_main": 0.5})
    assert sorted(path.name for path in Path(folder, "checkpoints").glob("*.index")) == ["step-2.index", "step-3.index"]
    assert saved(folder, recipe).restore_latest() == 3
    assert [open_weights(find(folder, which)).step for which in ("last", "best")] == [3, 3]
    assert open_weights(folder).step == 3
    assert capsys.readouterr().out == ""
    Path(folder, "checkpoints", "checkpoint").write_bytes(b"")
    assert saved(folder, recipe).restore_latest() == 3
    assert "step-3, the newest whole one, is used" in capsys.readouterr().out
    assert saved(folder, recipe).restore_latest() == 3  # the record is whole again
    assert capsys.readouterr().out == ""


def test_a_run_killed_in_its_first_checkpoint_starts_again_with_its_initial_weights(tmp_path, capsys):
    """Also those of --init_checkpoint, which a run that goes on does not read."""
    recipe = small_recipe("vanilla", train_steps=1)
    (tmp_path / "checkpoints" / "step-1_temp").mkdir(parents=True)
    run_folder.record_recipe(str(tmp_path), recipe)
    assert not run_folder.goes_on(str(tmp_path))
    checkpoints = saved(str(tmp_path), recipe)
    assert checkpoints.restore_latest() == 0
    assert capsys.readouterr().out.endswith("checkpoints holds no whole checkpoint: training starts at step 0\n")
    checkpoints.save()
    assert run_folder.goes_on(str(tmp_path))


def test_a_checkpoint_of_another_recipe_is_refused_with_the_difference(tmp_path):
    recipe = small_recipe("vanilla", train_steps=1)
    saved(str(tmp_path), recipe).save()
    other = override(recipe, {"seed": 5, "cadence.iterations_per_loop": 3})
    with pytest.raises(
        RecipeError, match=r"step-0 was written with another recipe than recipe.json says \(seed: 0 -> 5\)"
    ):
        saved(str(tmp_path), other).restore_latest()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run with brackets in its name, and its command."""
    folder = tmp_path_factory.mktemp("runs") / "b0 [first]"
    command = ("--scheme=vanilla", f"--model_dir={folder}", "--train_steps=2", *NARROW)
    with two_block_networks():
        run_main(*command)
    return folder, command


def test_a_run_killed_after_its_export_has_one_version(finished, two_blocks, capsys):
    folder, command = finished
    summary = json.loads((folder / "summary.json").read_text())
    files = {path.relative_to(folder) for path in folder.rglob("*") if "tensorboard" not in path.parts}
    (folder / "summary.json").unlink()
    for left in ("saved_model/.unfinished-1", "checkpoints/step-2_temp", ".worker-1"):
        (folder / left).mkdir()
    (folder / "recipe.json.tmp").write_text("{")
    (folder / locks.LOCK_FILE).write_text("process 1 on a machine that is gone")
    out, _ = run(*command, capsys=capsys)
    assert "resuming at step 2 of 2" in out
    again = json.loads((folder / "summary.json").read_text())
    times = {"train_seconds"}
    assert {name: value for name, value in again.items() if name not in times} == {
        name: value for name, value in summary.items() if name not in times
    }
    assert os.listdir(folder / "saved_model") == ["1"]
    assert {path.relative_to(folder) for path in folder.rglob("*") if "tensorboard" not in path.parts} == files


def test_an_export_in_a_folder_with_brackets_is_read_again(finished, two_blocks, capsys):
    folder, _ = finished
    weights = ExportedWeights(str(folder / "saved_model" / "1"))
    network, _ = weights.read(make_model=None)
    assert network(tf.zeros([2, 16, 16, 3])).shape == (2, 10)
    out, _ = run("--mode=export", f"--model_dir={folder}", capsys=capsys)  # asked for: a second version
    assert f"saved_model: {folder}/saved_model/2, " in out
    shutil.rmtree(folder / "saved_model" / "2")


def test_an_edited_recipe_is_refused(finished, two_blocks, capsys, tmp_path):
    """Its preprocessing would change what the weights compute; its seed what a resumed run sees."""
    folder, command = finished
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    record = json.loads((folder / "recipe.json").read_text())
    (copy / "recipe.json").write_text(json.dumps(record | {"seed": 5}))
    resume = [argument for argument in command if "model_dir" not in argument]
    (copy / "summary.json").unlink()
    arguments = ((f"--model_dir={copy}", *resume, "--seed=5"), ("--mode=eval", f"--model_dir={copy}"))
    for line in [refused(*one, capsys=capsys) for one in arguments]:
        assert "step-2 was written with another recipe than recipe.json says (seed: 0 -> 5)" in line
    record["network"]["preprocessing"] = "advprop" if record["network"]["preprocessing"] == "imagenet" else "imagenet"
    (copy / "recipe.json").write_text(json.dumps(record))
    (tmp_path / "one.png").write_bytes(b"")  # `--images` are looked for first
    for mode in (("--mode=eval",), ("--mode=export",), ("--mode=predict", f"--images={tmp_path}/*.png")):
        assert "network.preprocessing: " in refused(*mode, f"--model_dir={copy}", capsys=capsys)


def test_a_run_in_use_is_refused_in_one_line(finished, two_blocks, capsys, tmp_path, monkeypatch):
    _, command = finished
    arguments = (f"--model_dir={tmp_path}", *(one for one in command if "model_dir" not in one))
    with locks.hold("model_dir", str(tmp_path)):
        monkeypatch.setattr(locks, "_held", set())  # as if another process held it
        assert f"model_dir {tmp_path} is in use by process {os.getpid()} on " in refused(*arguments, capsys=capsys)
        assert os.listdir(tmp_path) == [locks.LOCK_FILE]
