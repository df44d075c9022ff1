"""The definition of a flag: its type, its help, and the modes that read it."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

from efficientnet_advprop.recipes import ATTACKED, Benchmark

TRAINING = ("train_and_eval", "train")
READING = ("eval", "predict", "export", "visualize")  # of trained weights: a run's, or those of --init_checkpoint
MODES = (*TRAINING, *READING, "check_data", "study", "compare", "plan")
# Groups of modes. Reading modes compare a value with the recorded one; check_data draws training images.
LOOP = (*TRAINING, "study")
RUN = (*TRAINING, *READING)
RUNS = (*RUN, "study")
RUN_OR_CHECK = (*RUN, "check_data")
IMAGES = (*RUNS, "check_data")
# The same and plan, for what changes what a run takes.
RUNS_OR_PLAN = (*RUNS, "plan")
RUN_CHECK_OR_PLAN = (*RUN_OR_CHECK, "plan")
IMAGES_OR_PLAN = (*IMAGES, "plan")


def is_own(benchmark: Benchmark) -> bool:
    """Whether a benchmark is about the evaluation images of the network's own data."""
    return benchmark.takes_own_images


def is_attacked(benchmark: Benchmark) -> bool:
    """Whether a benchmark attacks the images."""
    return benchmark.kind == ATTACKED


def is_tuned(benchmark: Benchmark) -> bool:
    """Whether a benchmark attacks the images with an attack that has parameters."""
    return is_attacked(benchmark) and not benchmark.parameter_free


def is_made(benchmark: Benchmark) -> bool:
    """Whether a benchmark corrupts the images on the fly."""
    return benchmark.is_made_on_the_fly


def is_cropped(benchmark: Benchmark) -> bool:
    """Whether a benchmark's images are distributed as squares, which are not cropped again."""
    return benchmark.cropped_px is not None


def is_not_cropped(benchmark: Benchmark) -> bool:
    """The opposite of `is_cropped`."""
    return not is_cropped(benchmark)


class Topic(enum.Enum):
    """The topics of --help, in their order."""

    WHAT = "What to do"
    DATA = "Data"
    NETWORK = "Network"
    TERMS = "Terms of the scheme"
    ATTACKS = "Training attack"
    OPTIMIZATION = "Optimizer"
    LENGTH = "Length, batch, randomness"
    CADENCE = "Logging, checkpoints, evaluation"
    WEIGHTS = "Weights to start from or to read"
    HARDWARE = "Devices and precision"
    ROBUSTNESS = "Robustness"
    STUDIES = "Studies and comparisons"
    FIGURES = "Visualizations"
    PLANS = "Plans"
    EXPORTS = "Exports and predictions"


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag without a default: if it is absent, the value of the recipe or of `RunOptions` is used.

    Attributes:
        name: of the flag.
        kind: its type, or the tuple of the allowed values. On the command line `tuple[float, ...]` is 30,60,90,
            `list[str]` is a,b, and `dict[str, Path]` is NAME=PATH, repeated for each name. A `Path` is read as a str
            with `~` expanded.
        help: shown by --help.
        modes: the modes that read it; all others refuse it.
        topic: of --help; `by_topic` sets it.
        alias: another name of the flag.
        instead_in_study: the flag that replaces it in a study of several runs.
        saved_model: whether it has an effect if --init_checkpoint is a SavedModel.
        needs_benchmarks: whether it has an effect only where benchmarks are measured.
        read_by: whether a benchmark reads it; None if it does not depend on the benchmarks.
        benchmark_field: the field of `BenchmarkSpec` that it sets.
    """

    name: str
    kind: Any
    help: str
    modes: tuple[str, ...]
    _: dataclasses.KW_ONLY
    topic: Topic = Topic.WHAT
    alias: str | None = None
    instead_in_study: str | None = None
    saved_model: bool = True
    needs_benchmarks: bool = False
    read_by: Callable[[Benchmark], bool] | None = None
    benchmark_field: str | None = None

    def __post_init__(self) -> None:
        if not self.modes or not set(self.modes) <= set(MODES):
            raise ValueError(f"--{self.name} declares the modes {self.modes}; known: {', '.join(MODES)}")


@dataclasses.dataclass(frozen=True)
class RecipeFlag(Flag):
    """A flag that replaces one value of the recipe.

    Evaluation, prediction and export of a run refuse a value that differs from the recorded one, if it determines what
    the run computes. With weights of --init_checkpoint they read only the flags that say so in `given`.

    Attributes:
        path: the path of the value in the recipe, as in `recipes.override`; the name completes a path that is empty or
            ends in a dot.
        given: the modes of `READING` that read it with weights of --init_checkpoint.
    """

    modes: tuple[str, ...] = RUNS
    path: str = ""
    _: dataclasses.KW_ONLY
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path or self.path.endswith("."):
            object.__setattr__(self, "path", self.path + self.name)


def by_topic(first: Topic, *items: Topic | Flag) -> tuple[Flag, ...]:
    """The flags among the items, each with the topic that stands before it."""
    topic, flags = first, []
    for item in items:
        if isinstance(item, Topic):
            topic = item
        else:
            flags.append(dataclasses.replace(item, topic=topic))
    return tuple(flags)
