"""Small studies, and studies with made-up numbers."""

import dataclasses

from efficientnet_advprop.evaluation import (
    Evaluated,
    Part,
    RunResults,
    Training,
    corruption_key,
    digest_over_seeds,
    plan_passes,
)
from efficientnet_advprop.recipes import STUDY_BENCHMARKS, DataFacts, named_recipe, override

LAST = dataclasses.replace(STUDY_BENCHMARKS, success="last")
DIGITS = DataFacts("digits", 10, 1437, 360)
TINY = (
    "--mode=study",
    "--dataset=digits",
    "--schemes=vanilla,advprop",
    "--width_coefficient=0.25",
    "--depth_coefficient=0.2",
    "--input_image_size=16",
    "--train_steps=2",
    "--train_batch_size=8",
    # Two steps of ten, a few images, at one severity of five below: nothing here is about their number.
    "--pgd_steps=2",
    "--benchmark_images=24",
)


def make_recipe(model, scheme, changes):
    return override(named_recipe(model, "digits", scheme), changes)


def result(row, seed, main, auxiliary=None, passes=1.0, seconds=10.0, model="b0", contrast=0.25, **training):
    """A run with these accuracies on clean images."""
    branches = {"main": {"top1": main}} | ({} if auxiliary is None else {"auxiliary": {"top1": auxiliary}})
    parts = {"clean": Part({}, 360, 0, branches, {}, 1.0)}
    for severity in range(1, 6):
        scores = {"main": {"top1": contrast}}
        parts[corruption_key("corruptions", "contrast", severity)] = Part(
            {"corruptions": "contrast", "images": "all"}, 360, 0, scores, {}, 1.0
        )
    evaluated = Evaluated(model, row, "digits", seed, 9, "averaged", 32, ("0", "1"), f"recipe of {row}", None)
    return RunResults(evaluated, Training(row, passes, seconds, "float32", **training), parts)


def keyed(results):
    """Runs by the keys of their trials."""
    return {f"{run.evaluated.model}-{run.training.row}-{run.evaluated.seed}": run for run in results}


def finished(trial, **training):
    """A finished run of a trial, with made-up numbers that differ between trials."""
    recipe = trial.recipe
    number = int.from_bytes(trial.key.encode(), "little") % 97 / 970
    parts = {}
    for one in plan_passes(recipe, None, LAST, {}):
        names = ["pgd"] if one.attack else one.branches or recipe.branches
        scores = {
            name: {"top1": 0.8 + number + place / 1000, "top5": 1.0, "loss": 0.1} for place, name in enumerate(names)
        }
        parts[one.key] = Part(one.settings, recipe.data.num_eval_images, 0, scores, {}, 1.0)
    network, names = recipe.network, tuple("0123456789")
    evaluated = Evaluated(
        *(trial.model, recipe.scheme, "digits", recipe.seed, recipe.total_steps, "averaged, of a study's run"),
        *(network.input_image_size, names, digest_over_seeds(recipe), None),
    )
    return RunResults(evaluated, Training(trial.row, recipe.passes_per_image(), 9.0, "float32", **training), parts)
