"""Accuracy against the strength of an attack, and signs that the attack, not the network, is what is weak.

Source of the signs: Athalye, Carlini and Wagner, "Obfuscated Gradients Give a False Sense of Security" (ICML 2018),
section 3.1: one-step attacks that do better than iterative ones, random points that do what the attack cannot.
"""

import dataclasses
import math
from collections.abc import Sequence

from efficientnet_advprop.evaluation.part_keys import CLEAN_IMAGES, attack_of
from efficientnet_advprop.evaluation.results import Part, RunResults
from efficientnet_advprop.recipes import ATTACKED, MAIN_BRANCH, benchmark_of

_MEANING = (
    "gradients may be masked or vanish, or the steps be too few; accuracy under this attack then overstates how robust "
    "the network is (or, where larger balls leave little, the network is nearly linear in this one)"
)


@dataclasses.dataclass(frozen=True)
class AttackPoint:
    """Top-1 of one strength, as fractions; None where it was not measured.

    Attributes:
        key: name of its part.
        norm: "linf" or "l2".
        epsilon_px: radius of the ball around each image.
        branch: attacked, and evaluated.
        images: images attacked; None if unknown.
        clean: of the same images as they are.
        noise: at a uniformly random point of the ball.
        one_step: after one step of length epsilon from the clean image (FGSM).
        pgd: under PGD, by what the part's settings count as its success.
    """

    key: str
    norm: str
    epsilon_px: float
    branch: str
    images: int | None
    clean: float | None
    noise: float | None
    one_step: float | None
    pgd: float | None

    @property
    def curve(self) -> str:
        """What it is a point of."""
        return self.norm if self.branch == MAIN_BRANCH else f"{self.norm}, {self.branch} branch"


def attack_curves(results: RunResults) -> dict[str, list[AttackPoint]]:
    """What was measured at each epsilon, from the smallest on, by norm, and branch if it is not the main one."""
    attacked = {key: part for key, part in results.parts.items() if benchmark_of(key).kind == ATTACKED}
    points = [_point(key, part) for key, part in attacked.items()]
    return {
        curve: sorted((point for point in points if point.curve == curve), key=lambda point: point.epsilon_px)
        for curve in dict.fromkeys(point.curve for point in points)
    }


def masked_gradient_warnings(results: RunResults) -> list[str]:
    """A line for each epsilon at which the attack seems to fail for want of useful gradients; none is no proof.

    Said where PGD leaves as much as one step does, or as much as noise does, although that step or the noise took off
    more than chance would, and left something to take.
    """
    warnings = []
    for curve, points in attack_curves(results).items():
        for point in points:
            signs = _signs(point, points)
            if signs:
                warnings.append(f"{curve}, epsilon {point.epsilon_px:g} px: {' and '.join(signs)}: {_MEANING}.")
    return warnings


def _point(key: str, part: Part) -> AttackPoint:
    return AttackPoint(
        key,
        *attack_of(key),
        part.images,
        *(part.scores.get(kind, {}).get("top1") for kind in (CLEAN_IMAGES, "noise", "one_step", "pgd")),
    )


def _signs(point: AttackPoint, points: Sequence[AttackPoint]) -> list[str]:
    """What speaks against this attack, in words."""
    if not point.pgd:  # nothing is left: the attack did all it could
        return []
    compared = (
        ("more steps do not hurt", "one step", point.one_step),
        ("noise hurts as much as the attack", "noise", point.noise),
    )
    before = _accuracy_before(point, points)
    return [
        f"{sign} (PGD leaves {100 * point.pgd:.2f} %, {weaker} {100 * accuracy:.2f} %)"
        for sign, weaker, accuracy in compared
        if accuracy is not None and accuracy <= point.pgd and _took_off(accuracy, before, point.images)
    ]


def _accuracy_before(point: AttackPoint, points: Sequence[AttackPoint]) -> float:
    """The best that is known of the attacked images: as they are, after noise in any ball, under this attack."""
    known = [point.pgd, point.clean]
    known += [other.noise for other in points if other.images == point.images]
    return max(accuracy for accuracy in known if accuracy is not None)


def _took_off(accuracy: float, before: float, images: int) -> bool:
    """Whether this is less than before by more than twice the standard error of an accuracy, and than one image.

    A ball so small that a few images turn, if any, tells nothing: there one step does what many do.
    """
    at_least = max(2 * math.sqrt(before * (1 - before) / images), 1.5 / images)  # half an image for rounding
    return before - accuracy > at_least
