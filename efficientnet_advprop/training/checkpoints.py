"""Checkpoints of a run: the newest ones, and the best one in its own folder."""

import json
import os
from collections.abc import Mapping

import tensorflow as tf

from efficientnet_advprop.files import latest_checkpoint, write_atomic
from efficientnet_advprop.recipes import RecipeError, WeightsRecord, first_line, refuse_other_classes
from efficientnet_advprop.training.run_folder import BEST_FOLDER, CHECKPOINT_FOLDER, read_results
from efficientnet_advprop.training.state import TrainState

BEST_RECORD = "best.json"


class _Text(tf.train.experimental.PythonState):
    """Text inside a checkpoint. Saving writes the text of this run, also after another one was restored.

    Attributes:
        restored: the text of the restored checkpoint; None before.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self.restored: str | None = None

    def serialize(self) -> str:
        return self._text

    def deserialize(self, string_value: str) -> None:
        self.restored = string_value


class Checkpoints:
    """Writes and reads the checkpoints in a model_dir.

    A checkpoint holds the state that a run needs to resume: weights, averages, the statistics of every branch,
    optimizer slots and step. It also holds the run's record, so that the weights can be used without the run's folder.
    The input has no state: its position is a function of the step.

    Args:
        state: what is saved and restored.
        record: describes the run.
        model_dir: the run's folder, to read from.
        write_dir: the folder to write to: model_dir for the chief, a scratch folder for every other worker. These have
            to take part in every save, because saving averages the replicas' statistics.
        keep_max: number of newest checkpoints to keep.
        io_device: device that writes and reads the files. A remote TPU needs it: by default files are written on the
            machine that holds the variables.
    """

    def __init__(
        self,
        state: TrainState,
        record: WeightsRecord,
        model_dir: str,
        write_dir: str,
        keep_max: int,
        io_device: str | None = None,
    ) -> None:
        self._state = state
        self._record = record
        self._model_dir = model_dir
        self._write_dir = write_dir
        self._text = _Text(record.to_json())
        # Keyword names are the first part of every key in the file.
        self._checkpoint = tf.train.Checkpoint(
            model=state.model,
            average_model=state.average_model,
            optimizer=state.optimizer,
            record=self._text,
        )
        self._options = tf.train.CheckpointOptions(experimental_io_device=io_device)
        self._newest = self._manager(CHECKPOINT_FOLDER, keep_max)
        self._best = self._manager(BEST_FOLDER, 1)
        # Kept in memory instead of read from the folder: all workers have to make the same decision whether to save.
        self._saved_step: int | None = None
        self._best_metric = f"top1_{record.recipe.cadence.eval_branch}"
        self._best_top1 = _recorded_best(model_dir, self._best_metric)

    def _manager(self, folder: str, keep_max: int) -> tf.train.CheckpointManager:
        path = os.path.join(self._write_dir, folder)
        latest_checkpoint(path)  # refuses a damaged record, which the manager reads too
        return tf.train.CheckpointManager(self._checkpoint, path, max_to_keep=keep_max, checkpoint_name="step")

    def restore_latest(self) -> int:
        """Restore the newest checkpoint, if there is one, and return the current step.

        Raises:
            RecipeError: when the checkpoint is damaged or of another network, or when there are checkpoints but no
                record of the newest one: a new start would overwrite them.
        """
        folder = os.path.join(self._model_dir, CHECKPOINT_FOLDER)
        path = latest_checkpoint(folder)
        if path:
            self._restore(path)
            self._require_same_classes(path)
            self._saved_step = self._state.step
        elif tf.io.gfile.glob(os.path.join(folder, "*.index")):
            raise RecipeError(f"{folder} holds checkpoints, but its file `checkpoint` names no complete one")
        return self._state.step

    def _restore(self, path: str) -> None:
        try:
            status = self._checkpoint.restore(path, self._options)
        except ValueError as error:
            raise RecipeError(f"checkpoint {path} is of another network: {first_line(error)}") from error
        except (tf.errors.OpError, IndexError) as error:  # TensorFlow raises IndexError for a truncated data file
            raise RecipeError(f"checkpoint {path} cannot be read: {first_line(error)}") from error
        try:
            # Both directions: optimizer slots are numbered in the file, so an unused variable in the file would mean
            # that slots were restored to the wrong variables.
            status.assert_consumed()
        except AssertionError as error:
            status.expect_partial()  # else TensorFlow logs a line for every variable that differs
            raise RecipeError(f"checkpoint {path} is of another network: {first_line(error)}") from error

    def _require_same_classes(self, path: str) -> None:
        """Refuse a checkpoint of other classes: the shapes match, but the labels have another meaning."""
        theirs, ours = WeightsRecord.from_json(self._text.restored).class_names, self._record.class_names
        if theirs != ours:
            refuse_other_classes(path, theirs, "the data", ours)

    def save(self) -> None:
        """Save the state, unless this step was saved before.

        Raises:
            FloatingPointError: when a weight or an average is not finite. Nothing is written then, so the newest
                checkpoint stays usable.
        """
        if self._saved_step == self._state.step:
            return
        broken = _first_not_finite(self._state.model) or _first_not_finite(self._state.average_model)
        if broken:
            raise FloatingPointError(f"weights are not finite at step {self._state.step}: {broken}")
        self._newest.save(checkpoint_number=self._state.step, options=self._options)
        self._saved_step = self._state.step

    def save_if_best(self, results: Mapping[str, float]) -> bool:
        """Save the state as the best one if its `top1_EVAL_BRANCH` is above all earlier ones; returns whether it is."""
        top1 = results[self._best_metric]
        if top1 <= self._best_top1:
            return False
        self._best_top1 = top1
        self._best.save(checkpoint_number=self._state.step, options=self._options)
        record = {"step": self._state.step, self._best_metric: top1}
        write_atomic(os.path.join(self._write_dir, BEST_FOLDER, BEST_RECORD), json.dumps(record) + "\n")
        return True


def find(model_dir: str, which: str) -> str:
    """The path of a run's "last" or "best" checkpoint.

    Raises:
        RecipeError: when there is none.
    """
    folder = os.path.join(model_dir, {"last": CHECKPOINT_FOLDER, "best": BEST_FOLDER}[which])
    path = latest_checkpoint(folder)
    if path is None:
        raise RecipeError(f"no checkpoint in {folder}")
    return path


def _recorded_best(model_dir: str, metric: str) -> float:
    """The accuracy of the best checkpoint; -inf if there is none, or if another branch chose it."""
    path = os.path.join(model_dir, BEST_FOLDER, BEST_RECORD)
    record = read_results(path, "remove it, and the next evaluation records the best checkpoint anew") or {}
    return record.get(metric, float("-inf"))


def _first_not_finite(model: tf.keras.Model) -> str | None:
    """Path of the first variable with a NaN or an infinity, or None."""
    paths = model.weights_by_path()
    finite = tf.stack([tf.reduce_all(tf.math.is_finite(variable)) for variable in paths.values()]).numpy()
    return next((path for path, good in zip(paths, finite, strict=True) if not good), None)
