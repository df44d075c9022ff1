"""Flags to the trials of a study."""

import functools
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from absl import flags as absl_flags

from efficientnet_advprop.recipes import (
    BASELINE,
    DEFAULT_MODEL,
    DataFacts,
    Recipe,
    RecipeError,
    RunOptions,
    StudySpec,
    Trial,
    named_recipe,
    plan,
)
from flags.checks import NO_BALL, refuse_unread, refuse_unsuited
from flags.new_recipe import changes_of, chosen_recipe, dataset_of, recipe_on_data, with_own_provenance
from flags.settings import run_options

_DEFAULT_SEEDS = 3  # the fewest for a meaningful standard error


class StudySettings(NamedTuple):
    """A study: its trials in their order, and options whose `model_dir` is the study's folder."""

    trials: tuple[Trial, ...]
    options: RunOptions


def study_from_flags(values: absl_flags.FlagValues, data: DataFacts, named: bool = False) -> StudySettings:
    """Read the flags of `--mode=study`. Flags of the recipe apply to every run that reads them.

    Args:
        values: the flags.
        data: facts about the data set.
        named: take the named recipes, as older versions did for any number of images.

    Raises:
        RecipeError: for invalid values, or values that no run reads.
    """
    changes, dataset = changes_of(values), dataset_of(values)

    def make_recipe(model: str, scheme: str, own_changes: Mapping[str, Any]) -> Recipe:
        make_base = named_recipe if named else functools.partial(chosen_recipe, data=data, changes=changes)
        base = make_base(model, dataset, scheme)
        recipe = recipe_on_data(base, data, {**changes, **own_changes})
        recipe.validate()
        return with_own_provenance(base, recipe)

    spec = StudySpec(
        tuple(values.models) if values.models is not None else (DEFAULT_MODEL,),
        tuple(values.schemes),
        _DEFAULT_SEEDS if values.seeds is None else values.seeds,
        values.attack_epsilons or (),
    )
    trials = plan(spec, make_recipe)
    refuse_unsuited(values, (trial.recipe for trial in trials))
    refuse_unread([trial.recipe for trial in trials], changes)
    if spec.attack_epsilons_px and all(trial.recipe.scheme in (BASELINE, trial.row) for trial in trials):
        raise RecipeError(f"--attack_epsilons would have no effect: no strength to choose in {', '.join(spec.schemes)}")
    attacks = [term.attack for trial in trials for term in trial.recipe.attacking_terms]
    if spec.attack_epsilons_px and not all(attack.has_ball for attack in attacks):
        raise RecipeError(f"--attack_epsilons would have no effect: {NO_BALL}")
    model_dir = values.model_dir or os.path.join("runs", f"study-{dataset}")
    return StudySettings(tuple(trials), run_options(values, model_dir))
