"""Test sets of ImageNet's classes, each in the layout that its authors distribute or as prepared by TFDS.

Labels are ImageNet's, from 0 to 999, also where a set holds only some of the classes.
"""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence

import PIL.Image
import tensorflow as tf

from efficientnet_advprop.data.class_names import IMAGENET_CLASSES, imagenet_synsets
from efficientnet_advprop.data.labelled_files import class_files, class_folders, file_records, labelled, read_file
from efficientnet_advprop.data.source import Source
from efficientnet_advprop.data.tfds_source import open_tfds
from efficientnet_advprop.data.tfrecord import open_tfrecords
from efficientnet_advprop.recipes import DataFacts, Recipe, RecipeError

# Names in TensorFlow Datasets (TFDS), which lacks Stylized-ImageNet.
_ON_TFDS = {
    "imagenet": "imagenet2012",
    "imagenet_v2": "imagenet_v2",
    "imagenet_a": "imagenet_a",
    "imagenet_r": "imagenet_r",
    "imagenet_sketch": "imagenet_sketch",
    "imagenet_c": "imagenet2012_corrupted",
}
# The folder of the authors' archive that holds the class folders; a user may also give that folder itself.
_INSIDE_ARCHIVES = {
    "imagenet": ("val", "validation"),
    "imagenet_v2": (
        "imagenetv2-matched-frequency-format-val",
        "imagenetv2-threshold0.7-format-val",
        "imagenetv2-top-images-format-val",
    ),
    "imagenet_a": ("imagenet-a",),
    "imagenet_r": ("imagenet-r",),
    "imagenet_sketch": ("sketch",),
    "stylized": ("val", "validation"),
}
IMAGENET_VARIANTS = tuple(_INSIDE_ARCHIVES)
_TFRECORDS = "validation-?????-of-?????"
# (corruption, severity)
CorruptedSet = tuple[str, int]


class ImagenetFiles:
    """Images in class folders, for evaluation; a `Source` without training images.

    Attributes:
        labels: those that occur, sorted.
        identity: of the data set, wherever it is stored: a digest of the images' labels and names.

    Args:
        folder: that holds class folders, named by synset or, as ImageNet-V2's, by label.

    Raises:
        RecipeError: when there are no class folders, one is not a class of ImageNet, or one has no images.
    """

    class_names = None

    def __init__(self, folder: str) -> None:
        folders = class_folders(folder)
        if not folders:
            raise RecipeError(f"{folder} has no class folders such as {imagenet_synsets()[0]}")
        labels = labels_of(folders, folder)
        self._paths, self._labels = labelled(class_files(folder, folders), labels)
        names = [f"{label}/{os.path.basename(path)}" for path, label in zip(self._paths, self._labels, strict=True)]
        self.identity = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
        self.facts = DataFacts(folder, IMAGENET_CLASSES, None, len(self._paths))
        self.labels = tuple(sorted(labels))

    def first_size(self) -> tuple[int, int] | None:
        """Width and height of the first image in pixels; None if it cannot be read."""
        try:
            with tf.io.gfile.GFile(self._paths[0], "rb") as file, PIL.Image.open(file) as image:
                return image.size
        except (OSError, tf.errors.OpError):
            return None

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(path, (path, label)) class by class."""
        del recipe, split
        return file_records(self._paths, self._labels)

    def read(self, record: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The file's bytes and the label."""
        return read_file(record)


def open_imagenet_variant(name: str, folder: str | None) -> Source:
    """Find the images of a test set, without using a device.

    Args:
        name: one of `IMAGENET_VARIANTS`.
        folder: as the authors distribute it, or TFDS's; for ImageNet also one with the official TFRecords. None is
            TFDS's default folder.

    Raises:
        RecipeError: when they are not found; it names what was looked for and where.
    """
    if folder is None:
        return _of_tfds(name, name, None)
    _require_folder(name, folder)
    if name in _ON_TFDS and tf.io.gfile.isdir(os.path.join(folder, _ON_TFDS[name])):
        return _of_tfds(name, name, folder)
    if name == "imagenet" and tf.io.gfile.glob(os.path.join(folder, _TFRECORDS)):
        return open_tfrecords(folder, evaluation_only=True)
    inside = [inner for inner in _INSIDE_ARCHIVES[name] if tf.io.gfile.isdir(os.path.join(folder, inner))]
    if len(inside) > 1:
        raise RecipeError(f"{name}: {folder} has {' and '.join(inside)}: give one of them")
    images = os.path.join(folder, *inside)
    if not class_folders(images):
        wanted = [f"class folders such as {imagenet_synsets()[0]}", *(f"{inner}/" for inner in _INSIDE_ARCHIVES[name])]
        wanted += [f"{_ON_TFDS[name]}/ of TFDS"] if name in _ON_TFDS else []
        wanted += [_TFRECORDS] if name == "imagenet" else []
        raise RecipeError(f"{name}: no {', '.join(wanted[:-1])} or {wanted[-1]} in {folder}")
    return ImagenetFiles(images)


def find_imagenet_c(
    folder: str | None, corruptions: Mapping[str, Sequence[str]], severities: Sequence[int]
) -> dict[CorruptedSet, "functools.partial[Source]"]:
    """The parts of ImageNet-C that exist, up to 95, each as a function that opens it.

    Args:
        folder: with CORRUPTION/SEVERITY/SYNSET/ or GROUP/CORRUPTION/SEVERITY/SYNSET/, or TFDS's. None is TFDS's default
            folder.
        corruptions: names by group.
        severities: which to look for.

    Raises:
        RecipeError: when none exists.
    """
    if folder is not None:
        _require_folder("imagenet_c", folder)
    on_tfds = folder is None or tf.io.gfile.isdir(os.path.join(folder, _ON_TFDS["imagenet_c"]))
    found = {}
    for group, names in corruptions.items():
        for name in names:
            for severity in severities:
                if on_tfds:
                    config = f"{name}_{severity}"
                    if _is_prepared(config, folder):
                        found[name, severity] = functools.partial(_of_tfds, "imagenet_c", config, folder)
                    continue
                for parts in ((name,), (group, name)):
                    part = os.path.join(folder, *parts, str(severity))
                    # Checked now: a folder of an unknown class must not end an evaluation after hours.
                    if tf.io.gfile.isdir(part) and (folders := class_folders(part)):
                        labels_of(folders, part)
                        found[name, severity] = functools.partial(ImagenetFiles, part)
    if not found:
        example = os.path.join(next(iter(corruptions.values()))[0], str(severities[0]), imagenet_synsets()[0])
        where = "the folder of TensorFlow Datasets" if folder is None else folder
        raise RecipeError(
            f"imagenet_c: no {example}/ or the like, and no {_ON_TFDS['imagenet_c']}/ of TFDS, in {where}"
        )
    return found


def labels_of(folders: Sequence[str], where: str) -> list[int]:
    """The ImageNet labels of class folders.

    Raises:
        RecipeError: when one is not a class of ImageNet.
    """
    by_synset = {synset: label for label, synset in enumerate(imagenet_synsets())}
    by_name = by_synset if folders[0] in by_synset else {str(label): label for label in range(IMAGENET_CLASSES)}
    for folder in folders:
        if folder not in by_name:
            raise RecipeError(f"class folder {os.path.join(where, folder)} is not one of ImageNet's {IMAGENET_CLASSES}")
    return [by_name[folder] for folder in folders]


def _require_folder(name: str, folder: str) -> None:
    if not tf.io.gfile.isdir(folder):
        raise RecipeError(f"{name}: no folder {folder}")


def _of_tfds(benchmark: str, config: str, folder: str | None) -> Source:
    """TFDS's data set of a benchmark, or its part of ImageNet-C of that configuration."""
    if benchmark not in _ON_TFDS:
        raise RecipeError(f"{benchmark} is not in TensorFlow Datasets: give --benchmark_dir={benchmark}=FOLDER")
    name = _ON_TFDS[benchmark] if config == benchmark else f"{_ON_TFDS[benchmark]}/{config}"
    try:
        return open_tfds(name, folder, evaluation_only=True)
    except RecipeError as error:
        raise RecipeError(f"{benchmark}: {error}; or give --benchmark_dir={benchmark}=FOLDER") from error


def _is_prepared(config: str, folder: str | None) -> bool:
    """Whether TFDS has prepared this part of ImageNet-C; its builder would take a second for each."""
    root = folder or os.path.expanduser(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
    return tf.io.gfile.isdir(os.path.join(root, _ON_TFDS["imagenet_c"], config))
