"""Accuracy against the strength of an attack, and signs that gradients are masked and the attack is weak.

Source of the signs: Athalye, Carlini and Wagner, "Obfuscated Gradients Give a False Sense of Security" (ICML 2018),
section 3.1: one-step attacks are stronger than iterative ones, random points are stronger than the attack.
"""

import dataclasses
import math
from collections.abc import Sequence

from efficientnet_advprop.evaluation.part_keys import CLEAN_IMAGES, attack_of
from efficientnet_advprop.evaluation.results import Part, RunResults
from efficientnet_advprop.recipes import MAIN_BRANCH

_MEANING = (
    "gradients may be masked or vanish, or there are too few steps; accuracy under this attack then overstates how "
    "robust the network is (unless larger balls leave little: then the network is nearly linear in this one)"
)


@dataclasses.dataclass(frozen=True)
class AttackPoint:
    """An attack of one strength.

    Attributes:
        key: of its part in the results.
        norm: "linf" or "l2".
        epsilon_px: radius of the ball around each image.
        branch: attacked, and evaluated.
        part: its result.
    """

    key: str
    norm: str
    epsilon_px: float
    branch: str
    part: Part

    @property
    def curve(self) -> str:
        """Name of the curve with this point: the norm, and the branch if it is not the main one."""
        return self.norm if self.branch == MAIN_BRANCH else f"{self.norm}, {self.branch} branch"

    def top1(self, kind: str) -> float | None:
        """Accuracy on one kind of image; None where it was not measured.

        Args:
            kind: `CLEAN_IMAGES`; the benchmark's name, under the whole attack; beside "pgd", "noise", a uniformly
                random point of the ball, and "one_step", one step of length epsilon from the clean image (FGSM);
                beside "autoattack", `STAGES`, after the first ones of its attacks.
        """
        return self.part.scores.get(kind, {}).get("top1")


def attack_curves(results: RunResults, benchmark: str) -> dict[str, list[AttackPoint]]:
    """The attacks of a benchmark by curve, each curve in ascending order of epsilon."""
    curves: dict[str, list[AttackPoint]] = {}
    for key, part in results.parts_of(benchmark).items():
        point = AttackPoint(key, *attack_of(key), part)
        curves.setdefault(point.curve, []).append(point)
    return {curve: sorted(points, key=lambda point: point.epsilon_px) for curve, points in curves.items()}


def masked_gradient_warnings(results: RunResults) -> list[str]:
    """A line for each epsilon at which gradients may be masked. An empty list proves nothing.

    A warning means that PGD leaves at least the accuracy that one step or noise leaves, although that step or noise
    lowered the accuracy significantly, and PGD did not reach 0.
    """
    warnings = []
    for curve, points in attack_curves(results, "pgd").items():
        for point in points:
            if signs := _signs(point, points):
                warnings.append(f"{curve}, epsilon {point.epsilon_px:g} px: {' and '.join(signs)}: {_MEANING}.")
    return warnings


def _signs(point: AttackPoint, points: Sequence[AttackPoint]) -> list[str]:
    """Signs of a weak attack, in words."""
    pgd = point.top1("pgd")
    if not pgd:  # an attack cannot do better than 0
        return []
    compared = (
        ("more steps do not hurt", "one step", point.top1("one_step")),
        ("noise hurts as much as the attack", "noise", point.top1("noise")),
    )
    before = _accuracy_before(point, points)
    return [
        f"{sign} (PGD leaves {100 * pgd:.2f} %, {weaker} {100 * accuracy:.2f} %)"
        for sign, weaker, accuracy in compared
        if accuracy is not None and accuracy <= pgd and _is_lower(accuracy, before, point.part.images)
    ]


def _accuracy_before(point: AttackPoint, points: Sequence[AttackPoint]) -> float:
    """The highest known accuracy on the attacked images: clean, with noise of any size, or under this attack."""
    known = [point.top1("pgd"), point.top1(CLEAN_IMAGES)]
    known += [other.top1("noise") for other in points if other.part.images == point.part.images]
    return max(accuracy for accuracy in known if accuracy is not None)


def _is_lower(accuracy: float, before: float, images: int) -> bool:
    """Whether the accuracy is lower by more than twice its standard error, and by more than one image.

    In a ball so small that only a few images change, one step does as much as many steps do.
    """
    at_least = max(2 * math.sqrt(before * (1 - before) / images), 1.5 / images)  # half an image for rounding
    return before - accuracy > at_least
