"""What a flag of `main.py` is: its kind, and which modes read it."""

import dataclasses
from collections.abc import Callable
from typing import Any

from efficientnet_advprop.recipes import ATTACKED, CORRUPTED, Benchmark

TRAINING = ("train_and_eval", "train")
READING = ("eval", "predict", "export")  # of trained weights: a run's, or those of --init_checkpoint
MODES = (*TRAINING, *READING, "check_data", "study", "compare")


def is_own(benchmark: Benchmark) -> bool:
    """Whether a benchmark is about the evaluation images of the network's own data."""
    return benchmark.takes_own_images


def is_attacked(benchmark: Benchmark) -> bool:
    """Whether a benchmark attacks the images."""
    return benchmark.kind == ATTACKED


def is_made(benchmark: Benchmark) -> bool:
    """Whether a benchmark corrupts the images on the fly."""
    return benchmark.kind == CORRUPTED and is_own(benchmark)


def is_cropped(benchmark: Benchmark) -> bool:
    """Whether a benchmark's images are distributed as squares, which are not cropped again."""
    return benchmark.cropped_px is not None


def is_not_cropped(benchmark: Benchmark) -> bool:
    """The opposite of `is_cropped`."""
    return not is_cropped(benchmark)


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag. It has no default: an absent one leaves the value of the recipe, or of `RunOptions`.

    Attributes:
        name: the flag's.
        kind: its type, or the tuple of the values allowed. `tuple[float, ...]` is written 30,60,90, `list[str]`
            a,b, and `dict[str, str]` NAME=VALUE, once for each name.
        help: shown by --help.
        modes: that read it; given to any other it is refused.
        alias: another name for it.
        instead_in_study: the flag that a study of many runs has instead.
        saved_model: whether it has an effect where --init_checkpoint is a SavedModel, one finished network.
        needs_benchmarks: whether it has an effect with --benchmarks alone.
        read_by: the benchmarks that read it, where --benchmarks names some; None if all do.
        benchmark_field: the field of `BenchmarkSpec` that it gives.
    """

    name: str
    kind: Any
    help: str
    modes: tuple[str, ...]
    _: dataclasses.KW_ONLY
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

    Evaluation, prediction and export of a run compare the value with the recorded one, where it decides what a run
    computes; of the weights of --init_checkpoint they read less.

    Attributes:
        path: the value's in the recipe, as `recipes.override` takes it; the name completes one that ends in a dot.
        given: the modes of `READING` that read it where --init_checkpoint gives the weights.
    """

    path: str
    _: dataclasses.KW_ONLY
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path.endswith("."):
            object.__setattr__(self, "path", self.path + self.name)
