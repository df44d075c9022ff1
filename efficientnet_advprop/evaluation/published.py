"""Results that the paper's authors published; nothing here was measured with this code.

Sources: "Adversarial Examples Improve Image Recognition" (CVPR 2020, arXiv 1911.09665), abstract and figures, and the
slides of its talk. Where they print a gain, the number here is the baseline plus that gain.
"""

import dataclasses
from collections.abc import Iterable, Iterator


@dataclasses.dataclass(frozen=True)
class Published:
    """Results of a trained network, as fractions; unpublished numbers are None.

    Attributes:
        model: name of the network.
        scheme: of its training.
        attack: of its training, in words; empty without an attack.
        imagenet: top-1 on ImageNet.
        mce: on ImageNet-C.
        imagenet_a: top-1 on ImageNet-A.
        stylized: top-1 on Stylized-ImageNet.
        source: figure or slides of the paper.
    """

    model: str
    scheme: str
    attack: str
    imagenet: float | None
    mce: float | None
    imagenet_a: float | None
    stylized: float | None
    source: str


_BEST, _PGD5, _UNKNOWN = "best strength of each network", "PGD5", "not published"
# Top-1 in percent: of B0, B1 and so on, and of ResNet-50, 101, 152, 200.
_EFFICIENTNETS = (
    ("vanilla", "", "figure 4, slides", (77.3, 79.2, 80.3, 81.7, 83.0, 83.7, 84.2, 84.5)),
    ("joint", _PGD5, "figure 5", (76.2, 78.7, 79.7, 81.3, 82.9, 83.8, 84.5, 85.1)),
    ("advprop", _PGD5, "figure 5", (77.1, 79.2, 80.3, 81.8, 83.3, 84.3, 84.8, 85.2)),
    ("advprop", _BEST, "figure 4, slides, abstract", (77.6, 79.6, 80.5, 81.9, 83.3, 84.3, 84.8, 85.2, 85.5)),
    ("fine_grained", _BEST, "slides", (77.9, 79.8, 80.7, 82.0, 83.5, 84.4, 84.8, 85.2)),
)
_RESNETS = (
    ("vanilla", "", "slides", (76.7, 78.3, 79.0, 79.3)),
    ("joint", _UNKNOWN, "slides", (73.5, 76.5, 77.0, 77.9)),
    ("advprop", _UNKNOWN, "slides", (77.1, 78.9, 79.8, 80.1)),
)
_RESNET_LAYERS = (50, 101, 152, 200)
_FIGURE_2 = {
    ("efficientnet-b3", "adversarial"): 78.2,
    ("efficientnet-b3", "adversarial_then_clean"): 81.5,
    ("efficientnet-b7", "adversarial"): 83.5,
    ("efficientnet-b7", "adversarial_then_clean"): 84.8,
}
# mCE, top-1 on ImageNet-A, top-1 on Stylized-ImageNet, in percent; the slides.
_DISTORTED = {
    ("resnet-50", "vanilla", ""): (74.8, 3.1, 8.0),
    ("efficientnet-b6", "joint", _PGD5): (55.8, 37.0, 24.7),
    ("efficientnet-b6", "advprop", _BEST): (53.6, 40.6, 25.9),
    ("efficientnet-b7", "vanilla", ""): (59.4, 37.7, 21.8),
    ("efficientnet-b7", "joint", _PGD5): (56.0, 40.4, 25.1),
    ("efficientnet-b7", "advprop", _BEST): (52.9, 44.7, 26.6),
}


def published_results(models: Iterable[str]) -> list[Published]:
    """The published results of these networks, network by network in their order."""
    known = list(_all_results())
    return [result for model in models for result in known if result.model == model]


def _all_results() -> Iterator[Published]:
    for scheme, attack, source, top1 in _EFFICIENTNETS:
        for number, percent in enumerate(top1):
            yield _result(f"efficientnet-b{number}", scheme, attack, source, percent)
    for scheme, attack, source, top1 in _RESNETS:
        for layers, percent in zip(_RESNET_LAYERS, top1, strict=True):
            yield _result(f"resnet-{layers}", scheme, attack, source, percent)
    for (model, scheme), percent in _FIGURE_2.items():
        yield _result(model, scheme, _UNKNOWN, "figure 2", percent)


def _result(model: str, scheme: str, attack: str, source: str, top1: float) -> Published:
    distorted = _DISTORTED.get((model, scheme, attack))
    if distorted is None:
        return Published(model, scheme, attack, top1 / 100, None, None, None, source)
    source = source if "slides" in source else f"{source}, slides"
    return Published(model, scheme, attack, top1 / 100, *(percent / 100 for percent in distorted), source)
