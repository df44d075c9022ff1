"""`--mode=visualize`: what networks look at, as figures with a page."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

import tpu_utils
from efficientnet_advprop.data import (
    Source,
    class_names,
    find_images,
    find_source,
    labelled_as,
    named_synsets,
    open_source,
)
from efficientnet_advprop.models.weights import Weights
from efficientnet_advprop.modes.gradient_figures import draw_attack, draw_gradients
from efficientnet_advprop.modes.loaded_network import LoadedNetwork
from efficientnet_advprop.modes.session import expect_many_graphs
from efficientnet_advprop.modes.shown_networks import Shown, ShownImages, open_networks, refuse_other_runs
from efficientnet_advprop.modes.synthesis_figures import draw_generation, draw_inpainting
from efficientnet_advprop.recipes import (
    ATTACK,
    GENERATION,
    GRADIENTS,
    INPAINTING,
    SYNTHESES,
    Recipe,
    RecipeError,
    RunOptions,
    refuse_other_classes,
)
from efficientnet_advprop.reporting import FIGURES_FOLDER, ReportFigures, write_visualization
from efficientnet_advprop.training import run_folder

VISUALIZATION_FOLDER = "visualization"


def visualize(recipe: Recipe, options: RunOptions, weights: Weights) -> None:
    """Draw what the options name, for the weights and for the compared runs, with a page in MODEL_DIR/visualization."""
    spec = options.visualization
    names = weights.class_names or class_names(weights.facts.num_classes)
    classes = _classes_to_generate(options, named_synsets(names))
    refuse_other_runs(options, named_synsets(names), bool(set(spec.parts) & set(SYNTHESES)))
    source, reasons = _own_images(recipe, options, weights)
    training, no_training = None, ""
    if GENERATION in spec.parts and source is not None:
        training, no_training = _training_images(recipe, options, weights)
        reasons |= {GENERATION: no_training} if no_training else {}
    if not set(spec.parts) - set(reasons):
        raise RecipeError(f"nothing is left to visualize: {next(iter(reasons.values()))}")
    files = None if options.images is None else find_images(options.images)
    run_folder.require_writable("model_dir", options.model_dir)
    run = LoadedNetwork(recipe, options, source, weights)
    if isinstance(run.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise RecipeError("--mode=visualize runs in one process: unset TF_CONFIG")
    for note in source.facts.notes if source else ():
        run.say(note)
    folder = os.path.join(options.model_dir, VISUALIZATION_FOLDER)
    with run.hold("model_dir", folder, (FIGURES_FOLDER,)):
        run.read_weights()
        expect_many_graphs()
        networks = open_networks(run)
        shown = Shown(run, networks, ShownImages(run, networks, files), ReportFigures(folder))
        draw = {
            GRADIENTS: draw_gradients,
            GENERATION: lambda shown: draw_generation(shown, training, classes),
            INPAINTING: draw_inpainting,
            ATTACK: draw_attack,
        }
        sections = [
            shown.left_out(part, reasons[part]) if part in reasons else draw[part](shown) for part in spec.parts
        ]
        page = write_visualization(folder, _facts(shown), _table(shown), sections)
    run.say(f"page: {page}")


def _classes_to_generate(options: RunOptions, names: Sequence[str]) -> list[int]:
    """The labels of the named classes, or evenly spaced ones.

    Raises:
        RecipeError: for an unknown class.
    """
    spec = options.visualization
    if not spec.visualize_classes:
        return sorted(
            {round(place) for place in np.linspace(0, len(names) - 1, min(spec.visualize_images, len(names)))}
        )
    labels = []
    for name in spec.visualize_classes:
        if name in names:
            labels.append(names.index(name))
        elif name.isdecimal() and int(name) < len(names):
            labels.append(int(name))
        else:
            known = f"{', '.join(names[:5])}{', ...' if names[5:] else ''}, or a number below {len(names)}"
            raise RecipeError(f"--visualize_classes names {name!r}; the classes of these weights are {known}")
    return list(dict.fromkeys(labels))


def _own_images(recipe: Recipe, options: RunOptions, weights: Weights) -> tuple[Source | None, dict[str, str]]:
    """The evaluation images of the weights' data; without them, and with image files, why synthesis is left out.

    Raises:
        RecipeError: when there are no images at all, or those of --data_dir cannot be read.
    """
    try:
        source = open_source(recipe.data, options.data_dir, evaluation_only=True)
    except RecipeError as error:
        if options.images is None or options.data_dir is not None:
            raise RecipeError(f"{error} (--images='FOLDER/*.png' shows gradients of files)") from error
        left_out = [part for part in options.visualization.parts if part in SYNTHESES]
        return None, dict.fromkeys(left_out, f"it needs images of the classes: {error}")
    return labelled_as(source, weights.class_names, weights.facts.path), {}


def _training_images(recipe: Recipe, options: RunOptions, weights: Weights) -> tuple[Source | None, str]:
    """The training images of the weights' classes, or why there are none."""
    data = recipe.data
    try:
        few = data.train_images_per_class
        source = find_source(data.dataset, options.data_dir, data.holdout_shards, train_images_per_class=few)
        source = labelled_as(source, weights.class_names, weights.facts.path)
        if weights.class_names and source.class_names and named_synsets(weights.class_names) != source.class_names:
            refuse_other_classes(weights.facts.path, weights.class_names, source.facts.where, source.class_names)
    except RecipeError as error:
        return None, f"it needs training images: {error}"
    return source, ""


def _facts(shown: Shown) -> list[str]:
    run = shown.run
    return [
        f"Command: `{run.options.command}`",
        f"Seed {run.recipe.seed}; devices: {tpu_utils.describe(run.strategy)}; precision {run.precision}.",
    ]


def _table(shown: Shown) -> list[list[str]]:
    return [
        [
            network.name,
            f"{network.recipe.network.name}, {network.image_size} px",
            network.scheme or "",
            network.weights,
            ", ".join(network.model.branches),
        ]
        for network in shown.networks
    ]
