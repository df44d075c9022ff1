"""Data sets with a folder per class: DIR/train/CLASS/* and DIR/val/CLASS/* (or DIR/validation/CLASS/*)."""

import os

import tensorflow as tf

from efficientnet_advprop.data.class_names import named_synsets
from efficientnet_advprop.data.few_images import first_of_each_class
from efficientnet_advprop.data.labelled_files import class_files, class_folders, file_records, labelled, read_file
from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.data.source import TRAIN
from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe, RecipeError

TRAIN_FOLDERS = ("train",)
EVALUATION_FOLDERS = ("val", "validation")

_NAMED = 3


class ClassFolderSource:
    """JPEG and PNG files in class folders. The sorted names of the folders are the classes in label order.

    Hidden files, and files with another suffix, are ignored.

    Args:
        data_dir: the folder, local or remote.
        evaluation_only: training images are not needed.
        train_images_per_class: as in `DataSpec`; those whose file names sort first.

    Raises:
        RecipeError: when a split is missing or has two folders, a class has no images or too few, or the classes of the
            splits differ.
    """

    def __init__(self, data_dir: str, evaluation_only: bool = False, train_images_per_class: int | None = None) -> None:
        evaluation = _class_files(data_dir, EVALUATION_FOLDERS)
        self.class_names = named_synsets(tuple(evaluation))
        self._evaluation = labelled(evaluation, range(len(evaluation)))
        num_classes, num_eval_images = len(evaluation), len(self._evaluation[0])
        self.facts = DataFacts(data_dir, num_classes, None, num_eval_images)
        if evaluation_only:
            return
        train = _class_files(data_dir, TRAIN_FOLDERS)
        for classes, others, split in ((evaluation, train, "training"), (train, evaluation, "evaluation")):
            if missing := sorted(set(classes) - set(others)):
                more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
                raise RecipeError(
                    f"data_dir {data_dir} has no folder of {split} images for {', '.join(missing[:_NAMED])}{more}"
                )
        paths, labels = labelled(train, range(len(train)))
        kept = first_of_each_class(labels, train_images_per_class)
        self._train = [paths[index] for index in kept], labels[kept]
        self.facts = DataFacts(data_dir, num_classes, len(self._train[0]), num_eval_images)

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """(path, (path, label), seed), a function of the recipe and the step."""
        del options
        paths, labels = (tf.constant(values) for values in self._train)

        def record(index: tf.Tensor, seed: tf.Tensor) -> tuple:
            path = tf.gather(paths, index)
            return path, (path, tf.gather(labels, index)), seed

        return training_order(len(self._train[0]), recipe, context, start_step).map(record)

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(path, (path, label)) class by class."""
        del recipe
        return file_records(*(self._train if split == TRAIN else self._evaluation))

    read = staticmethod(read_file)


def has_class_folders(data_dir: str) -> bool:
    """Whether the folder holds a split's folder."""
    return any(tf.io.gfile.isdir(os.path.join(data_dir, name)) for name in (*TRAIN_FOLDERS, *EVALUATION_FOLDERS))


def _class_files(data_dir: str, names: tuple[str, ...]) -> dict[str, list[str]]:
    """A split's paths by class, both sorted."""
    found = [name for name in names if tf.io.gfile.isdir(os.path.join(data_dir, name))]
    if not found:
        raise RecipeError(f"data_dir {data_dir} has no folder {' or '.join(names)} with a folder of images per class")
    if len(found) > 1:
        raise RecipeError(f"data_dir {data_dir} has {' and '.join(found)}: one folder of evaluation images is needed")
    split = os.path.join(data_dir, found[0])
    classes = class_folders(split)
    if not classes:
        raise RecipeError(f"{split} has no class folders")
    return class_files(split, classes)
