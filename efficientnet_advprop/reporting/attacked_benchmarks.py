"""How reports show the benchmarks under attack: what each measures, in words, and its kinds of images."""

from collections.abc import Mapping
from typing import NamedTuple

from efficientnet_advprop.evaluation import CLEAN_IMAGES, STAGES


class KindOfImage(NamedTuple):
    """Attacked images that have scores of their own.

    Attributes:
        title: in tables and legends.
        color: in figures.
    """

    title: str
    color: str


class AttackedBenchmark(NamedTuple):
    """A benchmark of kind `ATTACKED` in reports.

    Attributes:
        words: what its kinds of images are.
        kinds: the kinds in the scores of its parts beside `CLEAN_IMAGES`, in the order of tables; the last one is the
            whole attack.
    """

    words: str
    kinds: Mapping[str, KindOfImage]


ATTACKED_BENCHMARKS = {
    "pgd": AttackedBenchmark(
        "noise: at a uniformly random point of the ball. one step: of length epsilon from the clean image (FGSM). "
        "PGD: with `success` any, at the worst iterate of all restarts; with last, at the last point of one attack. "
        "clean: the same images without an attack.",
        {
            "noise": KindOfImage("noise", "tab:green"),
            "one_step": KindOfImage("one step", "tab:orange"),
            "pgd": KindOfImage("PGD", "tab:red"),
        },
    ),
    "autoattack": AttackedBenchmark(
        "Four attacks in turn, each on the images that the earlier ones left correct: APGD on the cross-entropy, APGD "
        "on the targeted DLR loss and FAB with up to nine targets each, Square with 5,000 queries. "
        "AutoAttack: what all four leave. clean: the same images without an attack.",
        dict(
            zip(
                STAGES,
                (
                    KindOfImage("after APGD-CE", "tab:olive"),
                    KindOfImage("after APGD-T", "tab:cyan"),
                    KindOfImage("after FAB-T", "tab:blue"),
                    KindOfImage("AutoAttack", "black"),
                ),
                strict=True,
            )
        ),
    ),
}
# Titles of all kinds of images in the scores of parts under attack.
KIND_TITLES = {CLEAN_IMAGES: "clean"} | {
    kind: shown.title for benchmark in ATTACKED_BENCHMARKS.values() for kind, shown in benchmark.kinds.items()
}
