"""What the campaign of kills compares: files and variables bit by bit, without times."""

import json

import numpy as np
import tensorflow as tf

from benchmarks.kills import contents, difference


def write_run(folder, weight=0.1, seconds=1.0, loss=0.5):
    """A folder with a checkpoint, metrics and a summary."""
    checkpoint = tf.train.Checkpoint(weight=tf.Variable(np.float32(weight)))
    tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), 1, checkpoint_name="step").save(4)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 4, "loss": loss, "train_seconds": seconds}) + "\n")
    (folder / "summary.json").write_text(json.dumps({"top1_main": 0.5, "train_seconds": seconds}))
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / f"events.out.tfevents.{seconds}.host").write_bytes(bytes(int(seconds)))
    return contents(folder)


def test_times_are_no_difference_and_all_else_is(tmp_path):
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
    whole = write_run(folders[0])
    assert difference(whole, write_run(folders[1], seconds=3.0)) is None
    changed = difference(whole, write_run(folders[2], weight=np.nextafter(np.float32(0.1), np.float32(1)), loss=0.25))
    assert changed == "differs in checkpoints/step-4.index:weight/.ATTRIBUTES/VARIABLE_VALUE, metrics.jsonl"
    (folders[3] / "summary.json.tmp").touch()
    found = write_run(folders[3])
    del found["metrics.jsonl"]
    assert difference(whole, found) == "lacks metrics.jsonl; has summary.json.tmp"
