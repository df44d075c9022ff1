"""`--mode=export`, and the export at the end of training."""

import contextlib
import itertools
import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import eval_dataset, find_images, open_source, read_images
from efficientnet_advprop.export import (
    Description,
    ServedNetwork,
    bytes_of,
    code_commit,
    export_network,
    exported_before,
    require_packages,
    served_network,
)
from efficientnet_advprop.models import Network, build_model
from efficientnet_advprop.models.weights import Weights, digest_of
from efficientnet_advprop.modes.loaded_network import LoadedNetwork
from efficientnet_advprop.modes.session import Session
from efficientnet_advprop.paths import named_like
from efficientnet_advprop.recipes import MAIN_BRANCH, Recipe, RecipeError, RunOptions
from efficientnet_advprop.reporting import comparison_table, recorded_results, time_passing
from efficientnet_advprop.training import run_folder
from efficientnet_advprop.training.interruption import stopping_means

_GIVEN_IMAGES = 50  # of --images, at most
_OTHER_IMAGES = 8
_BYTES_PER_MB = 1e6
_STOPPED = "nothing was exported, the same command begins again"
_STOPPED_AT_END = "training is saved, the same command goes on with the export"


def export(recipe: Recipe, options: RunOptions, weights: Weights) -> None:
    """Export a checkpoint; no data set is needed."""
    require_packages(options.export_format)
    run_folder.require_writable("export_dir", options.export_folder)
    # The digits need no folder, so an export of a run on digits is always compared on them.
    on_digits = recipe.data.dataset == "digits" and weights.facts.recipe is not None
    run = LoadedNetwork(recipe, options, open_source(recipe.data, None) if on_digits else None, weights)
    require_branch(run)
    with stopping_means(_STOPPED):
        run.read_weights()
    export_weights(run)
    run.remove_scratch()


def export_weights(run: Session, metrics: Mapping[str, float] | None = None) -> str:
    """Export the evaluated weights of a run, in the format and through the branch of its options.

    Args:
        run: holds the weights.
        metrics: results of the weights, at the end of their run; None takes those recorded in the run's folder.

    Returns:
        The folder of the new version.

    Raises:
        RecipeError: for a branch that the network does not have, or images that cannot be read.
        ExportError: when the exported network differs from the network.
    """
    options = run.options
    branch, ends_a_run = require_branch(run), metrics is not None
    if branch != MAIN_BRANCH:
        run.say(f"ATTENTION: this exports the {branch} branch; the main branch is the one for clean images")
    # All workers take part in reading the weights; those other than the chief write to their scratch folder.
    export_dir = options.export_folder if run.is_chief else os.path.join(run.write_dir, "saved_model")
    meaning = _STOPPED_AT_END if ends_a_run else _STOPPED
    with stopping_means(meaning), time_passing("export") if run.is_chief else contextlib.nullcontext():
        served = _served(run, branch, metrics)
        # A run that was killed between its export and its summary does not export the same weights again.
        folder = exported_before(served.description, options.export_format, export_dir) if ends_a_run else None
        if folder:
            run.say(f"{options.export_format}: {folder}, exported before")
            return folder
        folder, comparison = export_network(served, options.export_format, export_dir)
    if comparison:
        run.say(comparison_table(comparison))
    place, name = os.path.split(run.checkpoint_path)
    files = [*named_like(place, name), *named_like(place, f"{name}.*")]
    checkpoint_bytes = sum(tf.io.gfile.stat(path).length for path in files)
    run.say(
        f"{options.export_format}: {folder}, {bytes_of(folder) / _BYTES_PER_MB:.1f} MB "
        f"(the checkpoint: {checkpoint_bytes / _BYTES_PER_MB:.1f} MB)"
    )
    return folder


def _served(run: Session, branch: str, metrics: Mapping[str, float] | None) -> ServedNetwork:
    """The network of one branch with its weights and description, and the images to compare it on."""
    model = _one_branch(run, branch)
    if metrics is None:
        metrics = _recorded_metrics(run)
    if run.recipe.cadence.eval_branch != branch:  # another branch was attacked
        metrics = {name: value for name, value in metrics.items() if name != "top1_pgd"}
    optimizer = run.recipe.optimizer
    return served_network(
        run.evaluated_model,
        model,
        _examples(run),
        _describe(run, model, metrics),
        optimizer.weight_decay,
        optimizer.decay_batch_norm,
    )


def require_branch(run: Session) -> str:
    """The branch to export.

    Raises:
        RecipeError: when the network does not have it.
    """
    branch, known = run.options.export_branch or MAIN_BRANCH, run.recipe.branches
    if branch not in known:
        raise RecipeError(f"--export_branch={branch}: the branches of this network are {', '.join(known)}")
    return branch


def _one_branch(run: Session, branch: str) -> Network:
    """The network with a single branch, in float32 for every precision of training."""
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float32")
    try:
        return build_model(run.recipe.network, num_classes=run.recipe.data.num_label_classes, branches=(branch,))
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)


def _describe(run: Session, model: Network, metrics: Mapping[str, float]) -> Description:
    network, data = run.recipe.network, run.recipe.data
    scheme, dataset = run.trained_with
    return Description(
        model=network.name,
        scheme=scheme,
        dataset=dataset,
        preprocessing=network.preprocessing,
        input_image_size=network.input_image_size,
        eval_crop=data.eval_crop,
        resize=data.resize,
        branch=model.branches[0],
        weights=run.weights_in_words,
        step=run.step,
        metrics=dict(metrics),
        parameters=model.count_params(),
        commit=code_commit(),
        class_names=tuple(run.class_names),
        checkpoint=digest_of(run.checkpoint_path),
    )


def _recorded_metrics(run: Session) -> dict[str, float]:
    """The results that the run's folder records for these weights: only averaged weights have any."""
    if not run.options.ema or run.step is None:
        return {}
    results = recorded_results(run.options.model_dir, run.step)
    summary = run_folder.read_summary(run.options.model_dir) or {}
    if summary.get("step") == run.step:
        results |= {name: value for name, value in summary.items() if name.startswith("top")}
    return results


def _examples(run: Session) -> np.ndarray:
    """Images to compare the export on, float32 [N, size, size, 3]: --images, else the data set, else noise."""
    size, data = run.recipe.network.input_image_size, run.recipe.data
    if run.options.images:
        files = find_images(run.options.images)
        images = (image for _, image in read_images(files, size, data))
        readable = (image for image in images if not isinstance(image, str))
        examples = list(itertools.islice(readable, _GIVEN_IMAGES))
        if not examples:
            raise RecipeError(f"none of the files of {run.options.images} is an image")
        run.say(f"compared on {len(examples)} of {len(files)} files, the first {_GIVEN_IMAGES} images at most")
        return np.stack(examples)
    if run.source is not None:
        batches = eval_dataset(run.source, run.recipe, tf.distribute.InputContext(), run.options.input)
        good = batches.unbatch().filter(lambda example: example["mask"] > 0).take(_OTHER_IMAGES)
        examples = [example["images"] for example in good.as_numpy_iterator()]
        if examples:
            return np.stack(examples)
    run.say("compared on noise, as there are no images; --images='FOLDER/*.jpg' compares on images")
    return np.random.default_rng(0).uniform(0, 255, (_OTHER_IMAGES, size, size, 3)).astype(np.float32)
