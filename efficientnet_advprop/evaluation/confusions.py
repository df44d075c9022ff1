"""Which classes are taken for which others."""

import collections
from collections.abc import Iterable

from efficientnet_advprop.evaluation.attack_curve import CLEAN_IMAGES
from efficientnet_advprop.evaluation.results import Part


def commonest_confusions(parts: Iterable[Part], most: int) -> dict[str, list[tuple[str, str, int]]]:
    """(class, taken for, times) by what answered, the commonest first.

    A part keeps its commonest confusions alone, so that a sum over several parts is the least that it can be. Attacks
    of several strengths start from the same clean images, which count once.

    Args:
        parts: of one benchmark; of one curve, where it attacks.
        most: pairs of each.
    """
    times: dict[str, collections.Counter[tuple[str, str]]] = {}
    for part in parts:
        for answered, confusions in part.confusions.items():
            if answered == CLEAN_IMAGES and answered in times:
                continue
            sums = times.setdefault(answered, collections.Counter())
            for true, taken_for, number in confusions:
                sums[true, taken_for] += number
    commonest = {answered: sums.most_common(most) for answered, sums in times.items() if sums}
    return {answered: [(*pair, number) for pair, number in pairs] for answered, pairs in commonest.items()}
