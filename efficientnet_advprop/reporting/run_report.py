"""The report of a training run: results, curves, recipe, and the commands to go on with."""

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

from efficientnet_advprop.recipes import Recipe, RunOptions, first_line
from efficientnet_advprop.reporting.evaluation_report import REPORT_FILE
from efficientnet_advprop.reporting.figures import warn
from efficientnet_advprop.reporting.markdown import bullets, figure, table, write_report
from efficientnet_advprop.reporting.metrics_log import METRICS_FILE, read_metrics
from efficientnet_advprop.reporting.run_figures import write_run_figures
from efficientnet_advprop.reporting.tables import describe_recipe, summary_rows

_REST = 20  # times as long as writing
_STRIP = (
    "Evaluation images before and after the attack of `top1_pgd`, whatever that of training is, and the difference; "
    "images whose prediction changes come first."
)


def write_run_report(recipe: Recipe, options: RunOptions, summary: Mapping[str, Any] | None = None) -> str | None:
    """Write `report.md` into the folder of a run, and its curves into `figures` there.

    A report that cannot be written is a line of warning: the run goes on.

    Args:
        recipe: of the run.
        options: of the run.
        summary: of a finished run; None: the run goes on, and the results are those of its last evaluation.

    Returns:
        The report's path; None if it was not written.
    """
    try:
        return _write(recipe, options, summary)
    except Exception as error:
        warn(f"{report_path(options.model_dir)} is not written: {type(error).__name__}, {first_line(error)}")
        return None


def _write(recipe: Recipe, options: RunOptions, summary: Mapping[str, Any] | None) -> str:
    lines, title = read_metrics(options.model_dir), f"{recipe.network.name}, {recipe.scheme}, {recipe.data.dataset}"
    figures = write_run_figures(options.model_dir, lines, title)
    if summary is not None and summary["adversarial_examples"] is not None:
        figures.append((os.path.basename(summary["adversarial_examples"]), _STRIP))
    commands = commands_to_go_on(recipe, options)
    results = _last_evaluation(lines) if summary is None else summary
    trained_to = max((line["step"] for line in lines), default=0)
    unfinished = f"The run goes on to step {recipe.total_steps:,}. These are the results of its last evaluation."
    if trained_to >= recipe.total_steps and results.get("step", 0) < trained_to:  # of --mode=train
        unfinished = f"The run is trained to step {trained_to:,}; `--mode=eval` evaluates it."
    parts = [
        f"# {title}",
        _code([options.command]),
        unfinished if summary is None else "",
        table(summary_rows(results), ("result", "value")) if results else "",
        *(figure(*drawn) for drawn in figures),
        "## Recipe",
        bullets(describe_recipe(recipe).split("\n")),
        f"Every setting is in `recipe.json`, every value of the curves in `{METRICS_FILE}`.",
        "## How to go on",
        _code([f"# {purpose}\n{command}\n" for purpose, command in commands.items()]),
    ]
    return write_report(report_path(options.model_dir), parts, ())


class ReportOfRun:
    """Writes the report of a run that goes on, after evaluations.

    It takes at most a twentieth of the time: where evaluations follow each other within seconds, some get none.

    Args:
        recipe: of the run.
        options: of the run.
    """

    def __init__(self, recipe: Recipe, options: RunOptions) -> None:
        self._recipe, self._options = recipe, options
        self._next_at = float("-inf")

    def after_evaluation(self, step: int) -> None:
        """Write the report, unless that is too soon; that of the last step is written with the summary."""
        started = time.monotonic()
        if step < self._recipe.total_steps and started >= self._next_at:
            write_run_report(self._recipe, self._options)
            self._next_at = started + _REST * (time.monotonic() - started)


def commands_to_go_on(recipe: Recipe, options: RunOptions) -> dict[str, str]:
    """What can be done with a run, and the command line that does it, with the run's data and TPU."""
    run = ("model_dir", options.model_dir)
    devices = [(name, getattr(options, name)) for name in ("tpu", "tpu_zone", "gcp_project")]
    data = [("data_dir", options.data_dir), ("bad_images", "skip" if options.input.bad_images == "skip" else None)]
    tuned = [("scheme", recipe.scheme), ("init_checkpoint", options.model_dir), ("data_dir", "FOLDER")]
    tuned += [("model_dir", f"{options.model_dir.rstrip('/')}-tuned")]  # its default folder may be this run's
    return {
        "the same command resumes a run that was stopped": options.command,
        "robustness, with a report": _command(
            ("mode", "eval"), run, *data, ("benchmarks", "clean,pgd,corruptions"), *devices
        ),
        "what it looks at: gradients, generated images": _command(("mode", "visualize"), run, *data, *devices),
        "the classes of image files": _command(("mode", "predict"), run, ("images", "photos/*.jpg"), *devices),
        "TF Hub's modules; or saved_model, tflite, onnx": _command(
            ("mode", "export"), run, ("export_format", "hub"), *devices
        ),
        "fine-tune it on FOLDER/train/CLASS/ and FOLDER/val/CLASS/": _command(*tuned, *devices),
    }


def report_path(model_dir: str) -> str:
    """The report of the run in this folder."""
    return os.path.join(model_dir, REPORT_FILE)


def _command(*given: tuple[str, str | None]) -> str:
    """The command line with these flags; those without a value are left out."""
    flags = (f"--{name}={shlex.quote(value)}" for name, value in given if value is not None)
    return " ".join(("python main.py", *flags))


def _last_evaluation(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Step, epoch and results of the last evaluation; empty before the first."""
    last = next((line for line in reversed(lines) if line["kind"] == "eval"), {})
    return {name: value for name, value in last.items() if name != "kind"}


def _code(lines: Sequence[str]) -> str:
    return "```\n{}\n```".format("\n".join(lines).strip())
