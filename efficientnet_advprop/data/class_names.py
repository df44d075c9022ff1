"""Human-readable names of classes."""

import importlib.resources

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


def _imagenet() -> list[tuple[str, str]]:
    """(synset, name) in label order."""
    text = importlib.resources.files(__package__).joinpath("imagenet_classes.txt").read_text("utf-8")
    return [tuple(line.split(" ", 1)) for line in text.splitlines()]
