"""Flags to the benchmarks of an evaluation or of a study's runs."""

import dataclasses
from typing import Any

from absl import flags as absl_flags

from efficientnet_advprop.recipes import BENCHMARKS, STUDY_BENCHMARKS, BenchmarkSpec, RecipeError
from flags.command import given_flags


def asked_benchmarks(values: absl_flags.FlagValues) -> tuple[str, ...]:
    """The names in --benchmarks, or a study's default; empty without benchmarks."""
    if values.benchmarks is None:
        return STUDY_BENCHMARKS.names if values.mode == "study" else ()
    return tuple(values.benchmarks)


def benchmarks_from_flags(values: absl_flags.FlagValues) -> BenchmarkSpec | None:
    """The benchmarks of `--mode=eval` or a study; None without benchmarks.

    Raises:
        RecipeError: for invalid values, or values without effect.
    """
    for name in ("benchmarks", "corruptions"):
        if values[name].value == []:
            raise RecipeError(f"--{name}= is empty")
    names, is_study = asked_benchmarks(values), values.mode == "study"
    if not names:
        return None
    given: dict[str, Any] = {
        flag.benchmark_field: values[flag.name].value for flag in given_flags(values) if flag.benchmark_field
    }
    given = {field: tuple(value) if isinstance(value, list) else value for field, value in given.items()}
    if given.get("norm", STUDY_BENCHMARKS.norm) != STUDY_BENCHMARKS.norm:
        given.setdefault("epsilons_px", ())  # the study's default is of its norm
    base = STUDY_BENCHMARKS if is_study else BenchmarkSpec(names)
    spec = dataclasses.replace(base, names=names, folders=_folders(values.benchmark_dir or ()), **given)
    spec.validate()
    if is_study:
        _refuse_in_a_study(names)
    native = spec.resize == "native" and all(BENCHMARKS[name].cropped_px for name in names)
    if values.input_image_size is not None and native:
        raise RecipeError("--input_image_size would have no effect: --robustness_resize=native keeps images' own size")
    return spec


def _refuse_in_a_study(names: tuple[str, ...]) -> None:
    """A study compares runs on their own images, and detects divergence by the clean loss."""
    own = [name for name, benchmark in BENCHMARKS.items() if benchmark.takes_own_images]
    for name in names:
        if name not in own:
            raise RecipeError(f"benchmark {name} of a study: its runs are measured on {', '.join(own)}")
    if "clean" not in names:
        raise RecipeError("the benchmarks of a study have to include clean")


def _folders(arguments: list[str]) -> dict[str, str]:
    """Folders by benchmark, from arguments NAME=PATH."""
    folders: dict[str, str] = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        if not path:
            raise RecipeError(f"--benchmark_dir={argument}: NAME=PATH is needed, such as imagenet_a=/data/imagenet-a")
        if name in folders:
            raise RecipeError(f"--benchmark_dir names two folders of {name}")
        folders[name] = path
    return folders
