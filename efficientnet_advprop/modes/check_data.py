"""`--mode=check_data`: counts, problems and a contact sheet of the data set."""

import os

import tensorflow as tf

from efficientnet_advprop.data import Source, class_names
from efficientnet_advprop.data.inspection import SplitReport, inspect_split, training_samples
from efficientnet_advprop.data.source import EVALUATION, TRAIN
from efficientnet_advprop.recipes import Recipe, one_line
from efficientnet_advprop.reporting import progress_bar, write_contact_sheet

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
    reports = [inspect_split(source, recipe, split, progress_bar) for split in (TRAIN, EVALUATION)]
    for report in reports:
        print(describe_split(report))
    problems = [problem for report in reports for problem in report.problems]
    for problem in problems:
        print(one_line(f"problem: {problem}"))
    try:
        samples = training_samples(source, recipe, _SAMPLES) if reports[0].num_images else []
    except tf.errors.DataLossError:
        samples = []  # a damaged file, listed among the problems
    if samples:
        tf.io.gfile.makedirs(model_dir)
        path = os.path.join(model_dir, CONTACT_SHEET)
        names = source.class_names or class_names(recipe.data.num_label_classes)
        named = [(before, after, names[label]) for before, after, label in samples]
        if write_contact_sheet(path, named, f"{source.facts.where}, train_crop {recipe.data.train_crop}"):
            print(f"training images, stored and for training: {path}")
    print(f"problems found: {len(problems) or 'none'}")
    return not problems


def describe_split(report: SplitReport) -> str:
    """The counts of a split, for printing."""
    files = "" if report.num_files is None else f" in {report.num_files} files"
    counts = report.class_counts
    sides = (("heights", report.heights), ("widths", report.widths))
    sizes = (f"{name} {low} to {high} px, median {median}" for name, (low, median, high) in sides)
    return (
        f"{report.split}: {report.num_images} images{files}, {report.num_bad_images} of them bad; "
        f"{len(counts)} classes of {counts.min()} to {counts.max()} good images; {', '.join(sizes)}"
    )
