"""From flags to the benchmarks of an evaluation, or of a study's runs."""

import dataclasses
from collections.abc import Callable
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    ATTACKED,
    BENCHMARKS,
    CORRUPTED,
    STUDY_BENCHMARKS,
    Benchmark,
    BenchmarkSpec,
    RecipeError,
)


def _is_attacked(benchmark: Benchmark) -> bool:
    return benchmark.kind == ATTACKED


def _is_cropped(benchmark: Benchmark) -> bool:
    return benchmark.cropped_px is not None


def _is_own(benchmark: Benchmark) -> bool:
    return benchmark.takes_own_images


# Flags that some benchmarks read, and which.
_READ_BY: dict[str, Callable[[Benchmark], bool]] = {
    **dict.fromkeys(("dataset", "data_dir", "num_eval_images", "holdout_shards"), _is_own),
    **dict.fromkeys(("eval_branch", "seed"), _is_attacked),
    **dict.fromkeys(("pgd_norm", "pgd_epsilons", "pgd_steps", "pgd_restarts", "pgd_success"), _is_attacked),
    "eval_crop": lambda benchmark: not _is_cropped(benchmark),
    "robustness_resize": _is_cropped,
    "corruptions": lambda benchmark: benchmark.kind == CORRUPTED and _is_own(benchmark),
}
# Fields of a `BenchmarkSpec` by the flags that give them.
_FIELDS = {
    "robustness_resize": "resize",
    "pgd_norm": "norm",
    "pgd_epsilons": "epsilons_px",
    "pgd_steps": "num_steps",
    "pgd_restarts": "restarts",
    "pgd_success": "success",
    "corruptions": "corruptions",
    "benchmark_images": "num_images",
}
_WITH_BENCHMARKS = (*_FIELDS, "benchmark_dir", "evaluation_dir")


def benchmarks_from_flags(values: absl_flags.FlagValues) -> BenchmarkSpec | None:
    """The benchmarks that `--mode=eval` or a study is asked for; None where nothing is measured on any.

    Args:
        values: the flags.

    Raises:
        RecipeError: for values that cannot be measured, or that nothing would read.
    """
    is_study = values.mode == "study"
    if values.benchmarks is None and not is_study:
        for name in _WITH_BENCHMARKS:
            if values[name].present:
                raise RecipeError(f"--{name} would have no effect without --benchmarks")
        return None
    for name in ("benchmarks", "corruptions"):
        if values[name].value == []:
            raise RecipeError(f"--{name}= is empty")
    names = STUDY_BENCHMARKS.names if values.benchmarks is None else tuple(values.benchmarks)
    known = [BENCHMARKS[name] for name in names if name in BENCHMARKS]
    for name, is_reader in _READ_BY.items():
        if len(known) == len(names) and values[name].present and not any(map(is_reader, known)):
            readers = (benchmark.name for benchmark in BENCHMARKS.values() if is_reader(benchmark))
            raise RecipeError(f"--{name} would have no effect: {' and '.join(readers)} alone read it")
    given: dict[str, Any] = {field: values[flag].value for flag, field in _FIELDS.items() if values[flag].present}
    given = {field: tuple(value) if isinstance(value, list) else value for field, value in given.items()}
    if "norm" in given and given["norm"] != STUDY_BENCHMARKS.norm:
        given.setdefault("epsilons_px", ())  # those of a study are of its norm
    base = STUDY_BENCHMARKS if is_study else BenchmarkSpec(names)
    spec = dataclasses.replace(base, names=names, folders=_folders(values.benchmark_dir or ()), **given)
    spec.validate()
    if is_study:
        _refuse_in_a_study(known)
    if values.input_image_size is not None and spec.resize == "native" and all(map(_is_cropped, known)):
        raise RecipeError(
            "--input_image_size would have no effect: --robustness_resize=native shows images as they are"
        )
    return spec


def _refuse_in_a_study(benchmarks: list[Benchmark]) -> None:
    """Its runs are compared on their own images, and clean accuracy says which of them diverged."""
    own = [name for name, benchmark in BENCHMARKS.items() if _is_own(benchmark)]
    for benchmark in benchmarks:
        if benchmark.name not in own:
            raise RecipeError(f"benchmark {benchmark.name} of a study: its runs are measured on {', '.join(own)}")
    if "clean" not in (benchmark.name for benchmark in benchmarks):
        raise RecipeError("the benchmarks of a study have to include clean")


def _folders(arguments: list[str]) -> dict[str, str]:
    """Folders by benchmark, from NAME=PATH."""
    folders: dict[str, str] = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        if not path:
            raise RecipeError(f"--benchmark_dir={argument}: NAME=PATH is needed, such as imagenet_a=/data/imagenet-a")
        if name in folders:
            raise RecipeError(f"--benchmark_dir names two folders of {name}")
        folders[name] = path
    return folders
