"""`metrics.jsonl` and TensorBoard scalars of a run."""

import json
import os
import time
from collections.abc import Callable
from typing import Annotated, Any

import tensorflow as tf

from efficientnet_advprop.files import read_or_refuse, write_atomic
from efficientnet_advprop.recipes import COUNT, FRACTION, SECONDS, JsonObject, RecipeError, from_values, json_values

METRICS_FILE = "metrics.jsonl"
_NO_RESULTS = ("step", "epoch", "kind")
_LINE = JsonObject(
    {"step": Annotated[int, COUNT], "kind": str},
    {"top": Annotated[float, FRACTION], "train_seconds": Annotated[float, SECONDS], "": int | float},
)


class MetricsLog:
    """A training callback that writes one JSON object per line: step, epoch, kind ("train" or "eval"), values.

    When a run resumes, lines after the resumed step are removed first, because these steps are run again.

    Attributes:
        train_seconds: training time in seconds, over all processes of the run.
        last_evaluated_step: the last step with an evaluation; 0 without any.

    Args:
        model_dir: the run's folder.
        start_step: the current step.
        steps_per_epoch: converts steps to epochs; need not be whole.
        after_evaluation: step -> None, called when its evaluation is written; this takes no training time.
    """

    def __init__(
        self,
        model_dir: str,
        start_step: int,
        steps_per_epoch: float,
        after_evaluation: Callable[[int], None] = lambda step: None,
    ) -> None:
        self._path = os.path.join(model_dir, METRICS_FILE)
        self._after_evaluation = after_evaluation
        self._steps_per_epoch = steps_per_epoch
        kept = [line for line in read_metrics(model_dir) if line["step"] <= start_step]
        self.last_evaluated_step = max((line["step"] for line in kept if line["kind"] == "eval"), default=0)
        self.train_seconds = max((line.get("train_seconds", 0.0) for line in kept), default=0.0)
        write_atomic(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._writers = {
            kind: tf.summary.create_file_writer(os.path.join(model_dir, "tensorboard", kind))
            for kind in ("train", "eval")
        }
        self._last_event = time.monotonic()

    def train_values(self, step: int, values: dict[str, float]) -> None:
        """Write the means since the last call; `train_seconds` continues in resumed runs and excludes evaluations."""
        now = time.monotonic()
        self.train_seconds += now - self._last_event
        self._last_event = now
        self._write("train", step, {**values, "train_seconds": round(self.train_seconds, 3)})

    def eval_values(self, step: int, values: dict[str, float]) -> None:
        """Write the results of an evaluation."""
        self._write("eval", step, values)
        self._after_evaluation(step)
        self._last_event = time.monotonic()

    def image(self, name: str, step: int, png_path: str) -> None:
        """Add a PNG file to TensorBoard."""
        with self._writers["eval"].as_default(step):
            tf.summary.image(name, tf.io.decode_png(tf.io.read_file(png_path), channels=3)[tf.newaxis])
        self._writers["eval"].flush()

    def _write(self, kind: str, step: int, values: dict[str, float]) -> None:
        line = {"step": step, "epoch": round(step / self._steps_per_epoch, 4), "kind": kind, **values}
        with tf.io.gfile.GFile(self._path, "a") as file:
            file.write(json.dumps(line) + "\n")
        with self._writers[kind].as_default(step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._writers[kind].flush()


def recorded_results(model_dir: str, step: int) -> dict[str, float]:
    """The results that the run in this folder recorded at a step; empty if it was not evaluated there."""
    lines = [line for line in read_metrics(model_dir) if line["kind"] == "eval"]
    results = next((line for line in reversed(lines) if line["step"] == step), {})
    return {name: value for name, value in results.items() if name not in _NO_RESULTS}


def read_metrics(model_dir: str) -> list[dict[str, Any]]:
    """The lines that a run in this folder has written; an incomplete last line, of a killed process, is left out.

    Raises:
        RecipeError: naming a line that is not one of a `MetricsLog`.
    """
    path = os.path.join(model_dir, METRICS_FILE)
    return read_or_refuse(path, _parsed_lines, "remove the line") if tf.io.gfile.exists(path) else []


def _parsed_lines(text: bytes) -> list[dict[str, Any]]:
    *lines, _ = text.split(b"\n")  # the last one is empty or incomplete
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(from_values(_LINE, json_values(line)))
        except RecipeError as error:
            raise RecipeError(f"line {number}: {error}") from error
    return values
