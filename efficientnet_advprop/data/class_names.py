"""Human-readable names of classes."""

import importlib.resources
import unicodedata
from collections.abc import Iterable

from efficientnet_advprop.data.listing import shown

IMAGENET_CLASSES = 1000


def class_names(num_classes: int) -> tuple[str, ...]:
    """Names in label order where only the number of classes is known: ImageNet's for 1,000, numbers otherwise."""
    if num_classes != IMAGENET_CLASSES:
        return tuple(str(label) for label in range(num_classes))
    return tuple(name for _, name in _imagenet())


def imagenet_synsets() -> tuple[str, ...]:
    """WordNet ids of ImageNet's classes, sorted, which is label order."""
    return tuple(synset for synset, _ in _imagenet())


def named_synsets(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The class names of these folders: ImageNet's if they are its 1,000 synsets, otherwise the folders' own names."""
    return class_names(IMAGENET_CLASSES) if folders == imagenet_synsets() else folders


def name_of_folder(folder: str) -> str:
    """The class of a folder. Names that some systems compose and others decompose (NFC, NFD) are one class."""
    return unicodedata.normalize("NFC", shown(folder))


def in_label_order(names: Iterable[str]) -> list[str]:
    """Classes in the order of their labels: whole numbers by number, as ImageNet-V2's folders, all others as text."""
    names = sorted(names)
    if all(name.isascii() and name.isdigit() for name in names):
        names.sort(key=int)
    return names


def _imagenet() -> list[tuple[str, str]]:
    """(synset, name) in label order."""
    text = importlib.resources.files(__package__).joinpath("imagenet_classes.txt").read_text("utf-8")
    return [tuple(line.split(" ", 1)) for line in text.splitlines()]
