"""From flags to the benchmarks of an evaluation."""

from absl import flags as absl_flags

from efficientnet_advprop.recipes import BENCHMARKS, CROPPED_BENCHMARKS, BenchmarkSpec, RecipeError

# Flags that a benchmark reads, and which.
_CROPPING = tuple(name for name in BENCHMARKS if name not in CROPPED_BENCHMARKS)
_READ_BY = {
    "eval_branch": ("pgd",),
    "seed": ("pgd",),
    "eval_crop": _CROPPING,
    "robustness_resize": CROPPED_BENCHMARKS,
    "pgd_norm": ("pgd",),
    "pgd_epsilons": ("pgd",),
    "pgd_steps": ("pgd",),
    "pgd_restarts": ("pgd",),
}
_WITH_BENCHMARKS = (
    "robustness_resize",
    "pgd_norm",
    "pgd_epsilons",
    "pgd_steps",
    "pgd_restarts",
    "benchmark_dir",
    "benchmark_images",
    "evaluation_dir",
)


def benchmarks_from_flags(values: absl_flags.FlagValues) -> BenchmarkSpec | None:
    """The benchmarks that `--mode=eval` is asked for; None without any.

    Args:
        values: the flags.

    Raises:
        RecipeError: for values that cannot be measured, or that nothing would read.
    """
    if values.benchmarks is None:
        for name in _WITH_BENCHMARKS:
            if values[name].present:
                raise RecipeError(f"--{name} would have no effect without --benchmarks")
        return None
    names = tuple(values.benchmarks)
    if not names:
        raise RecipeError("--benchmarks= is empty")
    for name, readers in _READ_BY.items():
        if values[name].present and not any(reader in names for reader in readers):
            raise RecipeError(f"--{name} would have no effect: {' and '.join(readers)} alone read it")
    spec = BenchmarkSpec(
        names,
        _folders(values.benchmark_dir or ()),
        resize=values.robustness_resize or BenchmarkSpec.resize,
        norm=values.pgd_norm or BenchmarkSpec.norm,
        epsilons_px=values.pgd_epsilons or (),
        num_steps=BenchmarkSpec.num_steps if values.pgd_steps is None else values.pgd_steps,
        restarts=BenchmarkSpec.restarts if values.pgd_restarts is None else values.pgd_restarts,
        num_images=values.benchmark_images,
    )
    spec.validate()
    if values.input_image_size is not None and spec.resize == "native" and set(names) <= set(CROPPED_BENCHMARKS):
        raise RecipeError(
            "--input_image_size would have no effect: --robustness_resize=native shows images as they are"
        )
    return spec


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
