"""Names of the parts of an evaluation.

BENCHMARK; BENCHMARK/CORRUPTION/SEVERITY; pgd/NORM/EPSILON, and pgd/NORM/EPSILON/BRANCH of branches but the main one.
"""

from efficientnet_advprop.recipes import ATTACKED, MAIN_BRANCH, benchmark_of

# In the place of a severity, where nothing but the mean over all five was kept.
MEAN = "mean"
# In the scores of a part under attack, beside the attacks: the images as they are.
CLEAN_IMAGES = "clean"


def corruption_key(benchmark: str, corruption: str, severity: int | str) -> str:
    """The part of one corruption and severity."""
    return f"{benchmark}/{corruption}/{severity}"


def attack_key(benchmark: str, norm: str, epsilon_px: float, branch: str) -> str:
    """The part of one attack, through one branch."""
    return "/".join((benchmark, norm, f"{epsilon_px:g}", *([] if branch == MAIN_BRANCH else [branch])))


def corruption_of(key: str) -> tuple[str, int | str]:
    """Corruption and severity (or `MEAN`) of a part of corrupted images."""
    _, corruption, severity = key.split("/")
    return corruption, severity if severity == MEAN else int(severity)


def attack_of(key: str) -> tuple[str, float, str]:
    """Norm, epsilon in pixels and branch of a part under attack."""
    _, norm, epsilon, *branch = key.split("/")
    return norm, float(epsilon), branch[0] if branch else MAIN_BRANCH


def series_of(key: str) -> tuple[str, ...]:
    """What a part is read together with, in one score or one curve: its benchmark, of attacks norm and branch too."""
    benchmark = benchmark_of(key)
    if benchmark.kind != ATTACKED:
        return (benchmark.name,)
    norm, _, branch = attack_of(key)
    return benchmark.name, norm, branch
