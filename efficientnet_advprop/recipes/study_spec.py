"""A comparison of schemes as a value, and the runs that it is made of."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from efficientnet_advprop.recipes.benchmark_spec import BenchmarkSpec
from efficientnet_advprop.recipes.errors import RecipeError
from efficientnet_advprop.recipes.networks import MAIN_BRANCH
from efficientnet_advprop.recipes.recipe import Recipe
from efficientnet_advprop.recipes.schemes import SCHEMES

BASELINE = "vanilla"
# What vanilla training of equal budget is for.
BUDGET_SCHEME = "advprop"
# What a study measures of each run. Its score under attack is a run's `top1_pgd`. The six corruptions need neither
# OpenCV nor numba; they are made one image at a time, 30 of each: more images would take longer than the training.
STUDY_BENCHMARKS = BenchmarkSpec(
    ("clean", "pgd", "corruptions"),
    epsilons_px=(4.0,),
    success=None,
    corruptions=("gaussian_noise", "shot_noise", "gaussian_blur", "contrast", "pixelate", "jpeg_compression"),
    corrupted_branches=(MAIN_BRANCH,),
    most_corrupted_images=2000,
)

# (model, scheme, changes by path) -> recipe
MakeRecipe = Callable[[str, str, Mapping[str, Any]], Recipe]


@dataclasses.dataclass(frozen=True)
class StudySpec:
    """What is compared.

    Attributes:
        models: networks by name.
        schemes: training schemes, "vanilla" among them: all others are compared with it.
        seeds: number of runs of each, with the seeds from 0 on.
        attack_epsilons_px: strengths to train the schemes that attack with; empty: the one of the recipe. A scheme
            whose strength does not vary keeps its own.
    """

    models: tuple[str, ...]
    schemes: tuple[str, ...]
    seeds: int
    attack_epsilons_px: tuple[float, ...] = ()

    def validate(self) -> None:
        """Refuse what cannot be run.

        Raises:
            RecipeError: naming the value and what is allowed.
        """
        if BASELINE not in self.schemes:
            raise RecipeError(f"schemes {', '.join(self.schemes)}: {BASELINE} is needed to compare with")
        if not self.models:
            raise RecipeError("models names none")
        if self.seeds < 1:
            raise RecipeError(f"seeds {self.seeds}: at least 1 is needed")
        for field in ("models", "schemes", "attack_epsilons_px"):
            values = getattr(self, field)
            if len(set(values)) != len(values):
                raise RecipeError(f"{field} {', '.join(map(str, values))} repeats a value")
        for epsilon in self.attack_epsilons_px:
            if not 0 < epsilon <= 255:
                raise RecipeError(f"attack epsilon {epsilon:g} px is outside (0, 255]")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a study.

    Attributes:
        row: what it is called in tables; the runs of one model's row differ in their seed alone.
        recipe: of the run.
    """

    row: str
    recipe: Recipe

    @property
    def model(self) -> str:
        """The network."""
        return self.recipe.network.name

    @property
    def has_equal_budget(self) -> bool:
        """Whether it is vanilla training with another scheme's number of passes."""
        return self.recipe.scheme == BASELINE and self.row != BASELINE

    @property
    def key(self) -> str:
        """Its name among all trials, fit for a folder."""
        row = self.row.replace(", ", "-").replace(" ", "-")
        return f"{self.model}-{row}-seed-{self.recipe.seed}"


def plan(spec: StudySpec, make_recipe: MakeRecipe) -> list[Trial]:
    """The trials of a study, all rows with the first seed first, so that a study cut short compares few runs of all.

    Where AdvProp is compared, vanilla gets a second row, with as many forward and backward passes as AdvProp has: one
    for each number of passes, where AdvProp is trained with attacks of several lengths.

    Raises:
        RecipeError: for values that cannot be run.
    """
    spec.validate()
    return [
        trial
        for seed in range(spec.seeds)
        for model in spec.models
        for trial in _trials(spec, model, lambda *args, seed=seed: make_recipe(*args[:2], {**args[2], "seed": seed}))
    ]


def _trials(spec: StudySpec, model: str, make_recipe: MakeRecipe) -> list[Trial]:
    """The trials of one model and seed."""
    trials = []
    for scheme in spec.schemes:
        recipe = make_recipe(model, scheme, {})
        if recipe.attacking_terms and spec.attack_epsilons_px and SCHEMES[scheme].varies_strength:
            trials.extend(
                Trial(f"{scheme}, epsilon {epsilon:g}", make_recipe(model, scheme, attack_of_strength(epsilon)))
                for epsilon in spec.attack_epsilons_px
            )
        else:
            trials.append(Trial(scheme, recipe))
    baseline = make_recipe(model, BASELINE, {})
    budgets = {
        equal_budget_row(trial.recipe): lengthened(baseline, trial.recipe.passes_per_image())
        for trial in trials
        if trial.recipe.scheme == BUDGET_SCHEME
    }
    return [*trials, *(Trial(row, recipe) for row, recipe in budgets.items())]


def equal_budget_row(recipe: Recipe) -> str:
    """The row of vanilla training that makes as many passes as this recipe."""
    return f"{BASELINE}, {recipe.passes_per_image():g} passes"


def attack_of_strength(epsilon_px: float) -> dict[str, Any]:
    """The paper's attacks by their strength: steps of 1 px, epsilon + 1 of them, but one for epsilon 1."""
    return {
        "attack.epsilon_px": float(epsilon_px),
        "attack.step_size_px": 1.0,
        "attack.num_steps": 1 if epsilon_px <= 1 else math.ceil(epsilon_px) + 1,
    }


def lengthened(recipe: Recipe, factor: float) -> Recipe:
    """The recipe with this many times the steps."""
    if recipe.train_steps is not None:
        return dataclasses.replace(recipe, train_steps=round(factor * recipe.train_steps))
    return dataclasses.replace(recipe, train_epochs=factor * recipe.train_epochs)
