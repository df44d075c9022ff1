"""A study of schemes, and the trials that it consists of."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from efficientnet_advprop.recipes.benchmark_spec import BenchmarkSpec
from efficientnet_advprop.recipes.bounds import Bounded, Bounds
from efficientnet_advprop.recipes.errors import RecipeError, require_known
from efficientnet_advprop.recipes.networks import MAIN_BRANCH
from efficientnet_advprop.recipes.recipe import Recipe
from efficientnet_advprop.recipes.schemes import SCHEMES

BASELINE = "vanilla"
# Vanilla training of equal budget makes as many passes as this scheme.
BUDGET_SCHEME = "advprop"
# The default evaluation of each run. Accuracy under attack is a run's `top1_pgd`. The six corruptions need neither
# OpenCV nor numba. They are made one image at a time, 30 of each image: more images would take longer than training.
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
class StudySpec(Bounded, of="study"):
    """The grid of a study.

    Attributes:
        models: names of networks.
        schemes: training schemes; the others are compared with "vanilla", which is required.
        seeds: number of runs of each row, with seeds from 0.
        attack_epsilons_px: strengths of the training attack; empty: the recipe's. Schemes with a fixed strength keep
            theirs.
    """

    models: tuple[str, ...]
    schemes: tuple[str, ...]
    seeds: Annotated[int, Bounds("[1, 1000]")]  # published studies have up to 100 or so
    attack_epsilons_px: Annotated[tuple[float, ...], Bounds("(0, 255]")] = ()

    def validate(self) -> None:
        """Refuse invalid values.

        Raises:
            RecipeError: naming the value and what is allowed.
        """
        for scheme in self.schemes:
            require_known("scheme", scheme, SCHEMES)
        if BASELINE not in self.schemes:
            raise RecipeError(f"schemes {', '.join(self.schemes)}: {BASELINE} is needed to compare with")
        if not self.models:
            raise RecipeError("models names none")
        for field in ("models", "schemes", "attack_epsilons_px"):
            values = getattr(self, field)
            if len(set(values)) != len(values):
                raise RecipeError(f"{field} {', '.join(map(str, values))} repeats a value")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a study.

    Attributes:
        row: its name in tables; trials of a model in one row differ only in their seed.
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
        """Whether it is vanilla training with as many passes as `BUDGET_SCHEME`."""
        return self.recipe.scheme == BASELINE and self.row != BASELINE

    @property
    def key(self) -> str:
        """Its unique name, which is a valid name of a folder."""
        row = self.row.replace(", ", "-").replace(" ", "-")
        return f"{self.model}-{row}-seed-{self.recipe.seed}".replace(":", "-")


def plan(spec: StudySpec, make_recipe: MakeRecipe) -> list[Trial]:
    """The trials of a study. All rows of a seed precede the next seed: an interrupted study compares all rows.

    With AdvProp, vanilla has another row with as many forward and backward passes: one for each number of passes, if
    AdvProp is trained with attacks of several lengths.

    Raises:
        RecipeError: for invalid values.
    """
    spec.validate()
    return [
        trial
        for seed in range(spec.seeds)
        for model in spec.models
        for trial in _trials(spec, model, seed, make_recipe)
    ]


def _trials(spec: StudySpec, model: str, seed: int, make_recipe: MakeRecipe) -> list[Trial]:
    """The trials of one model and seed."""

    def make(scheme: str, changes: Mapping[str, Any] | None = None) -> Recipe:
        return make_recipe(model, scheme, {**(changes or {}), "seed": seed})

    trials = []
    for scheme in spec.schemes:
        recipe = make(scheme)
        if recipe.attacking_terms and spec.attack_epsilons_px and SCHEMES[scheme].varies_strength:
            for epsilon in spec.attack_epsilons_px:
                trials.append(Trial(f"{scheme}, epsilon {epsilon:g}", make(scheme, attack_of_strength(epsilon))))
        else:
            trials.append(Trial(scheme, recipe))
    baseline = make(BASELINE)
    budgets = {
        equal_budget_row(trial.recipe): lengthened(baseline, trial.recipe.passes_per_image())
        for trial in trials
        if trial.recipe.scheme == BUDGET_SCHEME
    }
    return [*trials, *(Trial(row, recipe) for row, recipe in budgets.items())]


def equal_budget_row(recipe: Recipe) -> str:
    """Name of the row of vanilla training with as many passes as this recipe."""
    return f"{BASELINE}, {recipe.passes_per_image():g} passes"


def equal_budgets(trials: Sequence[Trial]) -> dict[str, str]:
    """The rows of vanilla training at equal budget, each with the row that makes as many passes."""
    return {equal_budget_row(trial.recipe): trial.row for trial in trials if trial.recipe.scheme == BUDGET_SCHEME}


def trials_in_words(trials: Sequence[Trial]) -> str:
    """What a study trains, on one line: rows, networks if there are several, and seeds."""
    like = equal_budgets(trials)
    rows = dict.fromkeys(trial.row for trial in trials)
    named = [f"{BASELINE} with as many passes as {like[row]}" if row in like else row for row in rows]
    counts = {"network": {trial.model for trial in trials}, "seed": {trial.recipe.seed for trial in trials}}
    shown = [f"{len(of)} {what}{'s' * (len(of) > 1)}" for what, of in counts.items() if what == "seed" or len(of) > 1]
    return "; ".join([*named, *shown])


def attack_of_strength(epsilon_px: float) -> dict[str, Any]:
    """The paper's attack of this strength: epsilon + 1 steps of 1 px; one step for epsilon 1."""
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
