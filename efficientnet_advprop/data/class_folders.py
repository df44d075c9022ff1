"""Data sets with a folder per class: DIR/train/CLASS/* and DIR/val/CLASS/* (or DIR/validation/CLASS/*)."""

import copy
import os
from collections.abc import Sequence

import tensorflow as tf

from efficientnet_advprop.data.class_names import in_label_order, name_of_folder, named_synsets
from efficientnet_advprop.data.few_images import first_of_each_class
from efficientnet_advprop.data.labelled_files import (
    ClassFiles,
    class_files,
    class_folders,
    file_records,
    labelled,
    read_file,
)
from efficientnet_advprop.data.listing import as_tensor, joined
from efficientnet_advprop.data.order import training_order
from efficientnet_advprop.data.source import EVALUATION, TRAIN
from efficientnet_advprop.recipes import DataFacts, InputOptions, Recipe, RecipeError

TRAIN_FOLDERS = ("train",)
EVALUATION_FOLDERS = ("val", "validation")

_NAMED = 3


class ClassFolderSource:
    """JPEG, PNG, GIF and BMP files in class folders. The names of the folders are the classes.

    Labels are in the order of the sorted names; of the numbers if all names are whole numbers. What is left out, and
    an order that is not that of the text, are in `facts.notes`.

    Args:
        data_dir: the folder, local or remote.
        evaluation_only: training images are not needed.
        train_images_per_class: as in `DataSpec`; those whose file names sort first.

    Raises:
        RecipeError: when a split is missing or has two folders, a class has no images or too few, or the classes of the
            splits differ.
    """

    def __init__(self, data_dir: str, evaluation_only: bool = False, train_images_per_class: int | None = None) -> None:
        splits = {EVALUATION: _class_files(data_dir, EVALUATION_FOLDERS)}
        if not evaluation_only:
            splits[TRAIN] = _class_files(data_dir, TRAIN_FOLDERS)
            _require_same_classes(data_dir, splits[TRAIN].images, splits[EVALUATION].images)
        self._data_dir, self._train_images_per_class = data_dir, train_images_per_class
        self._files = {split: files.images for split, files in splits.items()}
        self._left_out = ClassFiles({}, joined(*(files.left_out for files in splits.values()))).notes()
        classes, as_text = in_label_order(self._files[EVALUATION]), sorted(self._files[EVALUATION])
        by_number = f"labels: in the order of the numbers that name the class folders ({_first(classes)}), not as text"
        note = "" if classes == as_text else f"{by_number} ({_first(as_text)})"
        self._arrange(classes, named_synsets(tuple(classes)), note)

    def labelled_as(self, class_names: Sequence[str], record: str) -> "ClassFolderSource":
        """The same images with the labels and names of a record of these classes; itself for other classes.

        Older versions sorted numbers as text, and kept decomposed names.

        Args:
            class_names: in label order.
            record: what holds these names, for the note.
        """
        classes = [name_of_folder(name) for name in class_names]
        if tuple(class_names) == self.class_names or sorted(classes) != sorted(self._files[EVALUATION]):
            return self
        source, usual = copy.copy(self), classes == in_label_order(classes)
        source._arrange(classes, tuple(class_names), "" if usual else f"labels: as in {record} ({_first(classes)})")
        return source

    def _arrange(self, classes: Sequence[str], class_names: tuple[str, ...], note: str) -> None:
        """Give the classes their labels: 0 to the first one."""
        self.class_names = class_names
        self._labelled = {
            split: labelled({name: files[name] for name in classes}, range(len(classes)))
            for split, files in self._files.items()
        }
        num_train_images = None
        if TRAIN in self._labelled:
            paths, labels = self._labelled[TRAIN]
            kept = first_of_each_class(labels, self._train_images_per_class)
            self._labelled[TRAIN] = [paths[index] for index in kept], labels[kept]
            num_train_images = len(kept)
        num_eval_images, notes = len(self._labelled[EVALUATION][0]), (*self._left_out, *filter(None, [note]))
        self.facts = DataFacts(self._data_dir, len(classes), num_train_images, num_eval_images, notes)

    def train_records(
        self, recipe: Recipe, context: tf.distribute.InputContext, start_step: int, options: InputOptions
    ) -> tf.data.Dataset:
        """Batches of (path, (path, label), seed), a function of the recipe and the step."""
        del options
        paths, labels = self._labelled[TRAIN]
        num_images, paths, labels = len(paths), as_tensor(paths), tf.constant(labels)

        def records(indices: tf.Tensor, seeds: tf.Tensor) -> tuple:
            chosen = tf.gather(paths, indices)  # [B]
            return chosen, (chosen, tf.gather(labels, indices)), seeds

        return training_order(num_images, recipe, context, start_step).map(records)

    def records(self, recipe: Recipe, split: str) -> tf.data.Dataset:
        """(path, (path, label)) class by class."""
        del recipe
        return file_records(*self._labelled[split])

    read = staticmethod(read_file)


def has_class_folders(data_dir: str) -> bool:
    """Whether the folder holds a split's folder."""
    return any(tf.io.gfile.isdir(os.path.join(data_dir, name)) for name in (*TRAIN_FOLDERS, *EVALUATION_FOLDERS))


def _class_files(data_dir: str, names: tuple[str, ...]) -> ClassFiles:
    """A split's files by class."""
    found = [name for name in names if tf.io.gfile.isdir(os.path.join(data_dir, name))]
    if not found:
        raise RecipeError(f"data_dir {data_dir} has no folder {' or '.join(names)} with a folder of images per class")
    if len(found) > 1:
        raise RecipeError(f"data_dir {data_dir} has {' and '.join(found)}: one folder of evaluation images is needed")
    split = os.path.join(data_dir, found[0])
    folders = class_folders(split)
    if not folders:
        raise RecipeError(f"{split} has no class folders")
    files = class_files(split, folders)
    return files._replace(images=joined(*({name_of_folder(name): paths} for name, paths in files.images.items())))


def _require_same_classes(data_dir: str, train: dict[str, list[str]], evaluation: dict[str, list[str]]) -> None:
    for classes, others, split in ((evaluation, train, "training"), (train, evaluation, "evaluation")):
        if missing := sorted(set(classes) - set(others)):
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise RecipeError(
                f"data_dir {data_dir} has no folder of {split} images for {', '.join(missing[:_NAMED])}{more}"
            )


def _first(classes: Sequence[str]) -> str:
    """The first classes, for a note."""
    return ", ".join([*classes[:_NAMED], *(["..."] if classes[_NAMED:] else [])])
