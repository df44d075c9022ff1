"""Names of the parts of an evaluation.

BENCHMARK; BENCHMARK/CORRUPTION/SEVERITY; pgd/NORM/EPSILON, and pgd/NORM/EPSILON/BRANCH of branches but the main one.
"""

from efficientnet_advprop.recipes import MAIN_BRANCH

ATTACK_BENCHMARK = "pgd"


def corruption_key(benchmark: str, corruption: str, severity: int) -> str:
    """The part of one corruption and severity."""
    return f"{benchmark}/{corruption}/{severity}"


def attack_key(norm: str, epsilon_px: float, branch: str) -> str:
    """The part of one attack, through one branch."""
    return "/".join((ATTACK_BENCHMARK, norm, f"{epsilon_px:g}", *([] if branch == MAIN_BRANCH else [branch])))


def benchmark_of(key: str) -> str:
    """The benchmark that a part belongs to."""
    return key.partition("/")[0]


def corruption_of(key: str) -> tuple[str, int]:
    """Corruption and severity of a part of corrupted images."""
    _, corruption, severity = key.split("/")
    return corruption, int(severity)


def attack_of(key: str) -> tuple[str, float, str]:
    """Norm, epsilon in pixels and branch of a part under attack."""
    _, norm, epsilon, *branch = key.split("/")
    return norm, float(epsilon), branch[0] if branch else MAIN_BRANCH


def series_of(key: str) -> tuple[str, ...]:
    """What a part is read together with, in one score or one curve: its benchmark, of attacks norm and branch too."""
    if benchmark_of(key) != ATTACK_BENCHMARK:
        return (benchmark_of(key),)
    norm, _, branch = attack_of(key)
    return ATTACK_BENCHMARK, norm, branch
