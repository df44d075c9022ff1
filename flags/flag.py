"""The definition of a flag: its type, its help, and the modes that read it."""

import dataclasses
from typing import Any

TRAINING = ("train_and_eval", "train")
READING = ("eval", "predict", "export")  # of trained weights: a run's, or those of --init_checkpoint
MODES = (*TRAINING, *READING, "check_data", "study", "compare")


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag without a default: if it is absent, the value of the recipe or of `RunOptions` is used.

    Attributes:
        name: of the flag.
        kind: its type, or the tuple of the allowed values. On the command line `tuple[float, ...]` is 30,60,90,
            `list[str]` is a,b, and `dict[str, str]` is NAME=VALUE, repeated for each name.
        help: shown by --help.
        modes: the modes that read it; all others refuse it.
        alias: another name of the flag.
        instead_in_study: the flag that replaces it in a study of several runs.
        saved_model: whether it has an effect if --init_checkpoint is a SavedModel.
        needs_benchmarks: whether it has an effect only together with --benchmarks.
        benchmarks: the benchmarks that read it, if --benchmarks is given; empty if it does not depend on them.
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

    def __post_init__(self) -> None:
        if not self.modes or not set(self.modes) <= set(MODES):
            raise ValueError(f"--{self.name} declares the modes {self.modes}; known: {', '.join(MODES)}")


@dataclasses.dataclass(frozen=True)
class RecipeFlag(Flag):
    """A flag that replaces one value of the recipe.

    Evaluation, prediction and export of a run refuse a value that differs from the recorded one, if it determines what
    the run computes. With weights of --init_checkpoint they read only the flags that say so in `given`.

    Attributes:
        path: the path of the value in the recipe, as in `recipes.override`; a path that ends in a dot is completed by
            the name.
        given: the modes of `READING` that read it with weights of --init_checkpoint.
    """

    path: str
    _: dataclasses.KW_ONLY
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path.endswith("."):
            object.__setattr__(self, "path", self.path + self.name)
