"""What a flag of `main.py` is: its kind, and which modes read it."""

import dataclasses
from typing import Any

from efficientnet_advprop.recipes import BENCHMARKS

TRAINING = ("train_and_eval", "train")
READING = ("eval", "predict", "export")  # of trained weights: a run's, or those of --init_checkpoint
MODES = (*TRAINING, *READING, "check_data", "study", "compare")
# Benchmarks on the evaluation images of the network's own data, and those of images that are cropped already.
OWN_BENCHMARKS = tuple(name for name, benchmark in BENCHMARKS.items() if benchmark.takes_own_images)
CROPPED_BENCHMARKS = tuple(name for name, benchmark in BENCHMARKS.items() if benchmark.cropped_px)


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
        benchmarks: those that read it, where --benchmarks names some; empty if that is no question of benchmarks.
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
    benchmarks: tuple[str, ...] = ()
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
