"""Keys of the parts of an evaluation.

BENCHMARK, BENCHMARK/CORRUPTION/SEVERITY, ATTACK/NORM/EPSILON; ATTACK/NORM/EPSILON/BRANCH if that is not the main one.
"""

from efficientnet_advprop.recipes import (
    ATTACKED,
    CORRUPTED,
    EXTRA_CORRUPTIONS,
    IMAGENET_C_CORRUPTIONS,
    MAIN_BRANCH,
    RecipeError,
    benchmark_of,
)
from efficientnet_advprop.recipes.attack_spec import NORMS

SEVERITIES = (1, 2, 3, 4, 5)

# Replaces the severity in results of older versions, which kept only the mean over all five.
MEAN = "mean"
# The unattacked images in the scores of a part under attack.
CLEAN_IMAGES = "clean"


def corruption_key(benchmark: str, corruption: str, severity: int | str) -> str:
    """The key of one corruption and severity."""
    return f"{benchmark}/{corruption}/{severity}"


def attack_key(benchmark: str, norm: str, epsilon_px: float, branch: str) -> str:
    """The key of one attack on one branch."""
    return "/".join((benchmark, norm, f"{epsilon_px:g}", *([] if branch == MAIN_BRANCH else [branch])))


def corruption_of(key: str) -> tuple[str, int | str]:
    """Corruption and severity (or `MEAN`) in a key of corrupted images."""
    _, corruption, severity = key.split("/")
    return corruption, severity if severity == MEAN else int(severity)


def attack_of(key: str) -> tuple[str, float, str]:
    """Norm, epsilon in pixels and branch in a key of an attack."""
    _, norm, epsilon, *branch = key.split("/")
    return norm, float(epsilon), branch[0] if branch else MAIN_BRANCH


def require_known(key: str) -> None:
    """Refuse a key that no pass has.

    Raises:
        RecipeError: naming the key.
    """
    benchmark = benchmark_of(key)
    try:
        if benchmark.kind == CORRUPTED:
            corruption, severity = corruption_of(key)
            is_known = corruption in (*IMAGENET_C_CORRUPTIONS, *EXTRA_CORRUPTIONS)
            is_known &= severity in (MEAN, *SEVERITIES)
        elif benchmark.kind == ATTACKED:
            norm, epsilon_px, branch = attack_of(key)
            is_known = norm in NORMS and epsilon_px > 0 and key == attack_key(benchmark.name, norm, epsilon_px, branch)
        else:
            is_known = key == benchmark.name
    except ValueError:
        is_known = False
    if not is_known:
        raise RecipeError(f"unknown part {key!r} of the benchmark {benchmark.name}")


def series_of(key: str) -> tuple[str, ...]:
    """The score or curve of a part: its benchmark; for attacks its benchmark, norm and branch."""
    benchmark = benchmark_of(key)
    if benchmark.kind != ATTACKED:
        return (benchmark.name,)
    norm, _, branch = attack_of(key)
    return benchmark.name, norm, branch
