"""The benchmarks of an evaluation, from flags."""

from absl import flags as absl_flags

from efficientnet_advprop.recipes import CROPPED_BENCHMARKS, BenchmarkSpec, RecipeError


def benchmarks_from_flags(values: absl_flags.FlagValues) -> BenchmarkSpec | None:
    """The benchmarks of `--mode=eval`; None without any.

    Args:
        values: the flags.

    Raises:
        RecipeError: for invalid values, or flags without effect.
    """
    if values.benchmarks is None:
        return None
    names = tuple(values.benchmarks)
    if not names:
        raise RecipeError("--benchmarks= is empty")
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
