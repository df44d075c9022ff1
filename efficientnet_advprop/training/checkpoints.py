"""Checkpoints of a run: the newest ones, and the best one in its own folder."""

import json
import os
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from efficientnet_advprop import checkpoint_names
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.paths import plain_path
from efficientnet_advprop.recipes import RecipeError, WeightsRecord, first_line, refuse_other_classes
from efficientnet_advprop.training.loss_scale import LossScale
from efficientnet_advprop.training.network import TrainableNetwork
from efficientnet_advprop.training.run_folder import BEST_FOLDER, CHECKPOINT_FOLDER, read_results, require_recipe_of
from efficientnet_advprop.training.state import TrainState

BEST_RECORD = "best.json"
_LOSS_SCALE = "loss_scale"


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
    optimizer slots and step, and in float16 the loss scale. It also holds the run's record, so that the weights can be
    used without the run's folder. The input has no state: its position is a function of the step.

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
        self._checkpoint = self._of_state(state.loss_scale)
        self._options = tf.train.CheckpointOptions(experimental_io_device=io_device)
        self._keep_max = {CHECKPOINT_FOLDER: keep_max, BEST_FOLDER: 1}
        # Kept in memory instead of read from the folder: all workers have to make the same decision whether to save.
        self._saved_step: int | None = None
        self._best_metric = f"top1_{record.recipe.cadence.eval_branch}"
        self._best_top1 = _recorded_best(model_dir, self._best_metric)

    def restore_latest(self, say: Callable[[str], None] = print) -> int:
        """Restore the newest checkpoint, if there is one, and return the current step.

        Args:
            say: prints a line, where that checkpoint is not the recorded one, or none is whole.

        Raises:
            RecipeError: when the checkpoint is damaged, of another network or of another recipe.
        """
        path, line = checkpoint_names.newest(os.path.join(self._model_dir, CHECKPOINT_FOLDER))
        if line:
            say(line if path else f"{line}: training starts at step 0")
        if path:
            self._restore(path)
            self._require_same_run(path)
            self._saved_step = self._state.step
        if self._write_dir == self._model_dir:
            self._clear_up()
        return self._state.step

    def _clear_up(self) -> None:
        """Remove what a process left that was killed between writing a checkpoint and removing an older one."""
        for folder, keep_max in self._keep_max.items():
            place = os.path.join(self._model_dir, folder)
            path, _ = checkpoint_names.newest(place)
            if path and (step := checkpoint_names.step_of(path)) is not None:
                checkpoint_names.record(place, step, keep_max)

    def _of_state(self, loss_scale: LossScale | None) -> tf.train.Checkpoint:
        # Keyword names are the first part of every key in the file.
        return tf.train.Checkpoint(
            model=self._state.model,
            average_model=self._state.average_model,
            optimizer=self._state.optimizer,
            record=self._text,
            **({_LOSS_SCALE: loss_scale} if loss_scale else {}),
        )

    def _restore(self, path: str) -> None:
        """Restore the state. Only a run in float16 has a loss scale: one that was not starts at the first."""
        try:
            names = [name for name, _ in tf.train.list_variables(plain_path(path))]
            # A run may go on in another precision: read as it was written.
            scale = (self._state.loss_scale or LossScale()) if any(map(_is_of_scale, names)) else None
            status = self._of_state(scale).restore(plain_path(path), self._options)
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

    def _require_same_run(self, path: str) -> None:
        """Refuse a checkpoint of another recipe or of other classes: the shapes match, but not what they mean."""
        theirs, ours = WeightsRecord.from_json(self._text.restored), self._record
        require_recipe_of(path, theirs.recipe, ours.recipe)
        if theirs.class_names != ours.class_names:
            refuse_other_classes(path, theirs.class_names, "the data", ours.class_names)

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
        self._write(CHECKPOINT_FOLDER)
        self._saved_step = self._state.step

    def save_if_best(self, results: Mapping[str, float]) -> bool:
        """Save the state as the best one if its `top1_EVAL_BRANCH` is above all earlier ones; returns whether it is."""
        top1 = results[self._best_metric]
        if top1 <= self._best_top1:
            return False
        self._best_top1 = top1
        self._write(BEST_FOLDER)
        record = {"step": self._state.step, self._best_metric: top1}
        write_atomic(os.path.join(self._write_dir, BEST_FOLDER, BEST_RECORD), json.dumps(record) + "\n")
        return True

    def _write(self, folder: str) -> None:
        """Write the state as the newest checkpoint of a folder."""
        place, step = os.path.join(self._write_dir, folder), self._state.step
        tf.io.gfile.makedirs(place)
        # TensorFlow's, a part of every checkpoint. The number of saves would depend on interruptions.
        self._checkpoint.save_counter.assign(step)
        self._checkpoint.write(checkpoint_names.prefix_of(place, step), self._options)
        checkpoint_names.record(place, step, self._keep_max[folder])


def find(model_dir: str, which: str, say: Callable[[str], None] = print) -> str:
    """The path of a run's "last" or "best" checkpoint.

    Args:
        model_dir: the run's folder.
        which: "last" or "best".
        say: prints a line where it is not the recorded one.

    Raises:
        RecipeError: when there is none that is whole.
    """
    folder = os.path.join(model_dir, {"last": CHECKPOINT_FOLDER, "best": BEST_FOLDER}[which])
    path, line = checkpoint_names.newest(folder)
    if path is None:
        raise RecipeError(f"no checkpoint in {folder}" + (" is whole" if line else ""))
    if line:
        say(line)
    return path


def _recorded_best(model_dir: str, metric: str) -> float:
    """The accuracy of the best checkpoint; -inf if there is none, or if another branch chose it."""
    path = os.path.join(model_dir, BEST_FOLDER, BEST_RECORD)
    record = read_results(path, "remove it, and the next evaluation records the best checkpoint anew") or {}
    return record.get(metric, float("-inf"))


def _is_of_scale(name: str) -> bool:
    return name.startswith(f"{_LOSS_SCALE}/")


def _first_not_finite(model: TrainableNetwork) -> str | None:
    """Path of the first variable with a NaN or an infinity, or None."""
    # On the host: a TPU would compile these operations for every shape, and does not take hundreds of inputs at once.
    for path, variable in model.weights_by_path().items():
        if not np.isfinite(tf.convert_to_tensor(variable).numpy()).all():
            return path
    return None
