"""Progress: a bar on a terminal, lines at intervals in a file; and the bad images of every epoch."""

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

import tqdm

from efficientnet_advprop.reporting.tables import format_values

Item = TypeVar("Item")

_SECONDS_BETWEEN_LINES = 10.0


def progress_bar(items: Iterable[Item], total: int, unit: str, description: str | None = None) -> Iterator[Item]:
    """Iterate over the items with a progress bar on standard error, or with lines at intervals if it is no terminal.

    A bar with a description is one of several and is removed when it is complete. What takes less than an interval has
    no line.
    """
    if not sys.stderr.isatty():
        return _with_lines(items, total, unit if description is None else f"{description}: {unit}")
    options = {"desc": description, "leave": description is None}
    return iter(tqdm.tqdm(items, total=total, unit=unit, file=sys.stderr, dynamic_ncols=True, **options))


def _with_lines(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
    after_first = 0.0  # the first one traces and compiles
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        after_first = now if done == 1 else after_first
        if now >= next_line and done < total:
            seconds = (total - done) * (now - after_first) / max(1, done - 1)
            left = f", {tqdm.tqdm.format_interval(seconds)} left" if done > 1 else ""
            print(f"{what} {done}/{total}{left}", file=sys.stderr, flush=True)
            next_line = now + _SECONDS_BETWEEN_LINES


@contextlib.contextmanager
def time_passing(what: str) -> Iterator[None]:
    """A context of work without countable parts: at intervals, a line on standard error tells how long it has taken."""
    ended, started = threading.Event(), time.monotonic()

    def tell() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LINES):
            passed = tqdm.tqdm.format_interval(time.monotonic() - started)
            print(f"{what}: {passed} so far", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


class ProgressDisplay:
    """A context and training callback that shows losses by term, step time and remaining time.

    Args:
        total_steps: the last step of the run.
        start_step: the current step.
        visible: False shows nothing (workers other than the chief).
        stream: a terminal shows a bar, any other stream lines; None is standard error.
    """

    def __init__(self, total_steps: int, start_step: int, visible: bool = True, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        self._visible = visible
        self._total_steps = total_steps
        self._step = start_step
        self._stream = stream
        self._bar = tqdm.tqdm(
            total=total_steps,
            initial=start_step,
            unit="step",
            file=stream,
            dynamic_ncols=True,
            disable=not (visible and stream.isatty()),
        )
        self._started = self._last_event = time.monotonic()
        self._next_line = float("-inf")
        self._first_loop_done = False
        # Since the last line, without evaluations and without the first loop, which traces and compiles.
        self._steps, self._seconds = 0, 0.0
        self._skipped = 0

    def __enter__(self) -> "ProgressDisplay":
        """Show the bar."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the bar; it stays visible."""
        self._bar.close()

    def train_values(self, step: int, values: dict[str, float]) -> None:
        """Show the means of the steps since the last call."""
        now = time.monotonic()
        steps, self._step = step - self._step, step
        losses = " ".join(f"{name.removeprefix('loss/')} {values[name]:.3f}" for name in values if "loss/" in name)
        if "skipped_steps" in values:  # in float16
            self._skipped += round(values["skipped_steps"])
            losses += f"  skipped_steps {self._skipped}"
        shown = f"step {step}/{self._total_steps}  loss: {losses}"
        if not self._first_loop_done:
            self._first_loop_done = True
            self._write(f"first {steps} step(s) done after {now - self._started:.0f} s, tracing and compiling included")
            if self._bar.disable:
                self._write(shown)
            else:  # its times are those of the steps that follow
                self._bar.n = self._bar.last_print_n = self._bar.initial = step
                self._bar.unpause()
                self._bar.set_postfix_str(f"loss: {losses}")
        else:
            self._steps, self._seconds = self._steps + steps, self._seconds + now - self._last_event
            self._bar.set_postfix_str(f"loss: {losses}", refresh=False)
            self._bar.update(steps)
            if self._bar.disable and (now >= self._next_line or step == self._total_steps):
                seconds_per_step = self._seconds / self._steps
                left = tqdm.tqdm.format_interval((self._total_steps - step) * seconds_per_step)
                self._write(f"{shown}  {seconds_per_step:.2f} s/step  {left} left")
                self._steps, self._seconds, self._next_line = 0, 0.0, now + _SECONDS_BETWEEN_LINES
        self._last_event = now

    def eval_values(self, step: int, values: dict[str, float]) -> None:
        """Show the results of an evaluation."""
        self._last_event = time.monotonic()
        self._bar.unpause()
        self._write(f"step {step}  evaluation: {format_values(values)}")

    def _write(self, line: str) -> None:
        if self._visible:
            tqdm.tqdm.write(line, file=self._stream)
            self._stream.flush()


class BadImagesByEpoch:
    """A training callback that reports the number of bad images after every epoch that has some.

    An epoch ends within a loop of steps; its number is that up to the end of the loop.

    Args:
        start_step: the current step.
        steps_per_epoch: converts steps to epochs; need not be whole.
        total_steps: the last step of the run, which may lie within an epoch.
        say: prints a line.
    """

    def __init__(self, start_step: int, steps_per_epoch: float, total_steps: int, say: Callable[[str], None]) -> None:
        self._steps_per_epoch, self._total_steps, self._say = steps_per_epoch, total_steps, say
        self._epoch = math.floor(start_step / steps_per_epoch)
        self._number = 0

    def train_values(self, step: int, values: dict[str, float]) -> None:
        """Add the number of the steps since the last call; report it at the end of an epoch."""
        self._number += round(values["bad_images"])
        epoch = math.floor(step / self._steps_per_epoch)
        if epoch > self._epoch or step >= self._total_steps:
            if self._number:
                self._say(
                    f"epoch {self._epoch + 1}: {self._number} bad images, replaced by others "
                    "(--mode=check_data lists them)"
                )
            self._epoch, self._number = epoch, 0

    def eval_values(self, step: int, values: dict[str, float]) -> None:
        """Nothing to do: the results of an evaluation include its number of bad images."""
