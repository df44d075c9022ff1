"""Converts results of older versions to the current version.

Version 2 is `{"version": 2, "runs": {NAME: {"evaluated", "training", "parts"}}}`. Before that, evaluations wrote
`{"evaluated", "parts"}`, and studies `{"cells": {KEY: {..., "values"}}}` with only the means over severities.
"""

import statistics
from typing import Any

from efficientnet_advprop.evaluation.part_keys import MEAN, attack_key, corruption_key
from efficientnet_advprop.recipes import (
    AUGMENTED_BRANCH,
    AUXILIARY_BRANCH,
    MADE_CORRUPTIONS,
    MAIN_BRANCH,
    STUDY_BENCHMARKS,
)

VERSION = 2
ONLY_RUN = "run"  # name of the single run of an evaluation
# Description of the weights of a study's runs.
WEIGHTS_OF_TRIALS = "averaged, of a study's run"

# Keys of settings, old to new.
_RENAMED = {"pictures": "dataset", "of": "num_eval_images"}


def upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """The content of a results file in the format of `VERSION`.

    Raises:
        ValueError: for a newer version, or something else than results.
    """
    if not isinstance(values, dict) or not values.keys() & {"version", "cells", "parts"}:
        raise ValueError("these are no results of an evaluation or a study")
    if "version" in values:
        if values["version"] != VERSION:
            raise ValueError(f"version {values['version']!r} of results, where this code knows {VERSION}")
        return values
    if "cells" in values:
        return {"runs": _trials(values["cells"])}
    parts = {key: _of_evaluation(key, part) for key, part in values["parts"].items()}
    return {"runs": {ONLY_RUN: {"evaluated": values["evaluated"], "training": None, "parts": parts}}}


def _of_evaluation(key: str, part: dict[str, Any]) -> dict[str, Any]:
    """A part of an evaluation, with the settings that could not be chosen in older versions."""
    settings = {_RENAMED.get(name, name): value for name, value in part["settings"].items()}
    if key.startswith("pgd/"):
        settings["success"] = "any"
    if key.startswith("corruptions/"):
        settings["corruptions"] = "all"
    return {**part, "settings": settings}


def _trials(cells: dict[str, Any]) -> dict[str, Any]:
    """The runs of a study. Old digests include the seed: the one of seed 0 is the digest without a seed."""
    recipes = {(cell["model"], cell["row"]): cell["recipe"] for cell in cells.values() if cell["seed"] == 0}
    known = dict.fromkeys(("dataset", "step", "input_image_size", "class_names", "digest"))
    return {
        key: {
            "evaluated": {
                **known,
                "model": cell["model"],
                "scheme": cell["row"].partition(", ")[0],
                "seed": cell["seed"],
                "weights": WEIGHTS_OF_TRIALS,
                "recipe": recipes.get((cell["model"], cell["row"])),
            },
            "training": {name: cell[name] for name in ("row", "passes", "seconds", "precision", "diverged")},
            "parts": _parts_of_trial(cell["values"], cell["bad_images"], cell["seed"]),
        }
        for key, cell in cells.items()
    }


def _parts_of_trial(values: dict[str, float], bad_images: int, seed: int) -> dict[str, Any]:
    """Clean images through every branch, one attack, the means of six corruptions."""

    def part(scores: dict[str, dict[str, float]], bad_images: int | None, **settings: Any) -> dict[str, Any]:
        unknown = {"images": None, "confusions": {}, "seconds": None}
        return {"settings": settings, "bad_images": bad_images, "scores": scores, **unknown}

    parts = {}
    clean: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        metric, _, branch = name.partition("_")
        if branch in (MAIN_BRANCH, AUXILIARY_BRANCH, AUGMENTED_BRANCH):
            clean.setdefault(branch, {})[metric] = value
    if clean:
        parts["clean"] = part(clean, bad_images)
    if "top1_pgd" in values:
        attack = STUDY_BENCHMARKS.attack_in_words()
        settings = {"branch": MAIN_BRANCH, "attack": attack, "restarts": 1, "success": "last", "seed": seed}
        key = attack_key("pgd", "linf", 4.0, MAIN_BRANCH)
        parts[key] = part({"pgd": {"top1": values["top1_pgd"]}}, bad_images, **settings)
    names = [name for name in MADE_CORRUPTIONS if f"top1_{name}" in values]
    for name in names:
        scores = {MAIN_BRANCH: {"top1": values[f"top1_{name}"]}}
        # Bad images among the corrupted ones were not counted separately.
        bad = None if bad_images else 0
        parts[corruption_key("corruptions", name, MEAN)] = part(scores, bad, corruptions=", ".join(names))
    means = [values[f"top1_{name}"] for name in names]
    if "top1_corrupted" in values and abs(statistics.fmean(means) - values["top1_corrupted"]) > 1e-9:
        raise ValueError("top1_corrupted is not the mean of the corruptions")
    return parts
