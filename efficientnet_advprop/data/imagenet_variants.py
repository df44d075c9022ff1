"""Test sets of ImageNet's classes, each in the layout that its authors distribute or as prepared by TFDS.

Labels are ImageNet's, from 0 to 999, also where a set holds only some of the classes.
"""

import functools
import hashlib
import itertools
import os
from collections.abc import Sequence

import PIL.Image
import tensorflow as tf

from efficientnet_advprop.data.class_names import IMAGENET_CLASSES, imagenet_synsets
from efficientnet_advprop.data.labelled_files import class_files, class_folders, file_records, labelled, read_file
from efficientnet_advprop.data.source import Source
from efficientnet_advprop.data.tfds_source import open_tfds
from efficientnet_advprop.data.tfrecord import open_tfrecords
from efficientnet_advprop.paths import named_like
from efficientnet_advprop.recipes import (
    EXTRA,
    EXTRA_CORRUPTIONS,
    GROUPS,
    IMAGENET_C_CORRUPTIONS,
    Benchmark,
    DataFacts,
    Recipe,
    RecipeError,
)

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
        labels, files = labels_of(folders, folder), class_files(folder, folders)
        self._paths, self._labels = labelled(files.images, labels)
        names = [f"{label}/{os.path.basename(path)}" for path, label in zip(self._paths, self._labels, strict=True)]
        self.identity = hashlib.sha256(os.fsencode("\n".join(sorted(names)))).hexdigest()[:16]
        self.facts = DataFacts(folder, IMAGENET_CLASSES, None, len(self._paths), files.notes())
        self.labels = tuple(sorted(labels))

    def first_size(self) -> tuple[int, int] | None:
        """Width and height of the first image in pixels; None if it cannot be read."""
        try:
            with tf.io.gfile.GFile(os.fsencode(self._paths[0]), "rb") as file, PIL.Image.open(file) as image:
                return image.size
        except (OSError, tf.errors.OpError):
            return None

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(path, (path, label)) class by class."""
        del recipe, split
        return file_records(self._paths, self._labels)

    read = staticmethod(read_file)


def open_imagenet_variant(benchmark: Benchmark, folder: str | None) -> Source:
    """Find the images of a test set, without using a device.

    Args:
        benchmark: of one pass, on ImageNet's classes.
        folder: as the authors distribute it, or that of TensorFlow Datasets (TFDS); for ImageNet also one with the
            official TFRecords. None is TFDS's default folder.

    Raises:
        RecipeError: when they are not found; it names what was looked for and where.
    """
    name, tfds_name = benchmark.name, benchmark.tfds_name
    if folder is None:
        return _of_tfds(benchmark, None)
    _require_folder(name, folder)
    if tfds_name and tf.io.gfile.isdir(os.path.join(folder, tfds_name)):
        return _of_tfds(benchmark, folder)
    if name == "imagenet" and named_like(folder, _TFRECORDS):
        return open_tfrecords(folder, evaluation_only=True)
    inside = [inner for inner in benchmark.folders if tf.io.gfile.isdir(os.path.join(folder, inner))]
    if len(inside) > 1:
        raise RecipeError(f"{name}: {folder} has {' and '.join(inside)}: give one of them")
    images = os.path.join(folder, *inside)
    if not class_folders(images):
        wanted = [f"class folders such as {imagenet_synsets()[0]}", *(f"{inner}/" for inner in benchmark.folders)]
        wanted += [f"{tfds_name}/ of TFDS"] if tfds_name else []
        wanted += [_TFRECORDS] if name == "imagenet" else []
        raise RecipeError(f"{name}: no {', '.join(wanted[:-1])} or {wanted[-1]} in {folder}")
    return ImagenetFiles(images)


def find_corrupted_sets(
    benchmark: Benchmark, folder: str | None, severities: Sequence[int]
) -> dict[CorruptedSet, "functools.partial[Source]"]:
    """The parts of ImageNet-C that exist, up to 95, each as a function that opens it.

    Args:
        benchmark: ImageNet-C.
        folder: with CORRUPTION/SEVERITY/SYNSET/ or GROUP/CORRUPTION/SEVERITY/SYNSET/, or TFDS's. None is TFDS's default
            folder.
        severities: which to look for.

    Raises:
        RecipeError: when none exists.
    """
    name, tfds_name = benchmark.name, benchmark.tfds_name
    if folder is not None:
        _require_folder(name, folder)
    on_tfds = folder is None or tf.io.gfile.isdir(os.path.join(folder, tfds_name))
    found = {}
    for group, corruptions in {**GROUPS, EXTRA: EXTRA_CORRUPTIONS}.items():
        for corruption, severity in itertools.product(corruptions, severities):
            if on_tfds:
                config = f"{corruption}_{severity}"
                if _is_prepared(tfds_name, config, folder):
                    found[corruption, severity] = functools.partial(_of_tfds, benchmark, folder, config)
                continue
            for parts in ((corruption,), (group, corruption)):
                place = os.path.join(folder, *parts, str(severity))
                # Checked now: a folder of an unknown class must not end an evaluation after hours.
                if tf.io.gfile.isdir(place) and (folders := class_folders(place)):
                    labels_of(folders, place)
                    found[corruption, severity] = functools.partial(ImagenetFiles, place)
    if not found:
        example = os.path.join(IMAGENET_C_CORRUPTIONS[0], str(severities[0]), imagenet_synsets()[0])
        where = "the folder of TensorFlow Datasets" if folder is None else folder
        raise RecipeError(f"{name}: no {example}/ or the like, and no {tfds_name}/ of TFDS, in {where}")
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


def _of_tfds(benchmark: Benchmark, folder: str | None, config: str | None = None) -> Source:
    """TFDS's data set of a benchmark, or one configuration of it."""
    name = benchmark.name
    if benchmark.tfds_name is None:
        raise RecipeError(f"{name} is not in TensorFlow Datasets: give --benchmark_dir={name}=FOLDER")
    tfds_name = benchmark.tfds_name if config is None else f"{benchmark.tfds_name}/{config}"
    try:
        return open_tfds(tfds_name, folder, evaluation_only=True)
    except RecipeError as error:
        raise RecipeError(f"{name}: {error}; or give --benchmark_dir={name}=FOLDER") from error


def _is_prepared(tfds_name: str, config: str, folder: str | None) -> bool:
    """Whether TFDS has prepared this configuration; its builder would take a second for each."""
    root = folder or os.path.expanduser(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
    return tf.io.gfile.isdir(os.path.join(root, tfds_name, config))
