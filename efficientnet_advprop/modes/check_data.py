"""`--mode=check_data`: counts, problems and a contact sheet of the data set."""

import os
import sys
from collections.abc import Iterable

import tensorflow as tf
import tqdm

from efficientnet_advprop.data import Source, class_names
from efficientnet_advprop.data.inspection import SplitReport, inspect_split, training_samples
from efficientnet_advprop.data.source import EVALUATION, TRAIN
from efficientnet_advprop.recipes import Recipe
from efficientnet_advprop.reporting import write_contact_sheet

CONTACT_SHEET = "contact_sheet.png"
_SAMPLES = 12


def check_data(source: Source, recipe: Recipe, model_dir: str) -> bool:
    """Read every image, print counts and problems, and draw a contact sheet.

    Args:
        source: the images.
        recipe: the expected numbers, and the training transforms of the contact sheet.
        model_dir: folder of the contact sheet.

    Returns:
        Whether no problem was found.
    """
    reports = [inspect_split(source, recipe, split, _progress) for split in (TRAIN, EVALUATION)]
    for report in reports:
        print(describe_split(report))
    problems = [problem for report in reports for problem in report.problems]
    for problem in problems:
        print(f"problem: {problem}")
    try:
        samples = training_samples(source, recipe, _SAMPLES) if reports[0].num_images else []
    except tf.errors.DataLossError:
        samples = []  # a damaged file, listed among the problems
    if samples:
        tf.io.gfile.makedirs(model_dir)
        path = os.path.join(model_dir, CONTACT_SHEET)
        names = source.class_names or class_names(recipe.data.num_label_classes)
        named = [(before, after, names[label]) for before, after, label in samples]
        write_contact_sheet(path, named, f"{source.facts.where}, train_crop {recipe.data.train_crop}")
        print(f"training images, stored and for training: {path}")
    print(f"problems found: {len(problems) or 'none'}")
    return not problems


def describe_split(report: SplitReport) -> str:
    """The counts of a split, for printing."""
    files = "" if report.num_files is None else f" in {report.num_files} files"
    counts = report.class_counts
    sizes = (f"{name} {low} to {high} px, median {median}" for name, (low, median, high) in _sides(report))
    return (
        f"{report.split}: {report.num_images} images{files}, {report.num_bad_images} of them bad; "
        f"{len(counts)} classes of {counts.min()} to {counts.max()} good images; {', '.join(sizes)}"
    )


def _sides(report: SplitReport) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    return ("heights", report.heights), ("widths", report.widths)


def _progress(images: Iterable, total: int, split: str) -> Iterable:
    return tqdm.tqdm(images, desc=split, total=total, unit=" images", disable=not sys.stderr.isatty())
