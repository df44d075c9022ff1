"""Evaluated networks beside each other: means over seeds, differences to the first, and what cannot be subtracted."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from efficientnet_advprop.evaluation.attack_curve import masked_gradient_warnings
from efficientnet_advprop.evaluation.estimates import Estimate
from efficientnet_advprop.evaluation.measurements import Column, Measurement, measurements
from efficientnet_advprop.evaluation.results import EvaluationResults

# What the runs of a row measured: seed -> measurement of each column.
BySeed = dict[Column, dict[int | None, Measurement]]


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """One run that takes part.

    Attributes:
        folder: as it was named.
        results: of its evaluation.
    """

    folder: str
    results: EvaluationResults


@dataclasses.dataclass(frozen=True)
class Difference:
    """To the first row.

    Attributes:
        estimate: of the difference.
        paired: whether it is the mean over pairs of runs with the same seed, with that mean's standard error; else it
            is between the two means, whose errors add up as those of independent runs.
    """

    estimate: Estimate
    paired: bool


@dataclasses.dataclass(frozen=True)
class NetworkRow:
    """Runs that differ in their seed alone.

    Attributes:
        name: model and scheme, and the first run's folder where rows would have the same name.
        runs: one for each seed.
        values: by column, where all runs that have one are about the same images and attack.
        differences: to the first row, where both have a value of the same images and attack; empty in the first.
    """

    name: str
    runs: tuple[EvaluatedRun, ...]
    values: dict[Column, Estimate]
    differences: dict[Column, Difference]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The rows, the columns in which any has a value, and what has to be known beside them."""

    columns: tuple[Column, ...]
    rows: tuple[NetworkRow, ...]
    notes: tuple[str, ...]

    @property
    def models(self) -> list[str]:
        """The networks by name, each once."""
        return list(dict.fromkeys(run.results.evaluated.model for row in self.rows for run in row.runs))

    def as_values(self) -> dict[str, Any]:
        """The comparison as JSON has it; shares, unknown standard errors null."""
        return {
            "columns": {
                column.key: {"title": column.title, "lower_is_better": column.lower_is_better}
                for column in self.columns
            },
            "rows": [
                {
                    "name": row.name,
                    "runs": [_run_as_values(run) for run in row.runs],
                    "values": {column.key: _as_values(value) for column, value in row.values.items()},
                    "differences": {
                        column.key: {**_as_values(difference.estimate), "paired": difference.paired}
                        for column, difference in row.differences.items()
                    },
                }
                for row in self.rows
            ],
            "notes": list(self.notes),
        }


def compare(runs: Sequence[EvaluatedRun]) -> Comparison:
    """Runs whose recipes differ in the seed alone are one row; every row is compared with the first.

    Args:
        runs: one at least.
    """
    notes: list[str] = []
    found: dict[str, dict[Column, Measurement]] = {}
    for run in runs:
        found[run.folder], own_notes = measurements(run.results)
        warnings = [f"warning, {warning}" for warning in masked_gradient_warnings(run.results)]
        notes += [f"{run.folder}: {note}" for note in (*own_notes, *warnings)]
    rows: list[NetworkRow] = []
    first: BySeed = {}
    groups = _by_recipe(runs)
    for name, group in zip(_names(groups), groups, strict=True):
        by_seed, own_notes = _of_one_task(name, {_seed(run): found[run.folder] for run in group})
        notes += _about_steps(name, group) + own_notes
        differences: dict[Column, Difference] = {}
        if rows:
            differences, incomparable = _differences(name, by_seed, first)
            notes += incomparable
        else:
            first = by_seed
        values = {column: _estimate(measured) for column, measured in by_seed.items()}
        rows.append(NetworkRow(name, tuple(group), values, differences))
    columns = sorted({column for row in rows for column in row.values}, key=lambda column: column.place)
    return Comparison(tuple(columns), tuple(rows), tuple(notes))


def _by_recipe(runs: Iterable[EvaluatedRun]) -> list[list[EvaluatedRun]]:
    """Runs of one recipe and kind of weights together, a seed once; a seed's second run starts another row."""
    groups: list[list[EvaluatedRun]] = []
    for run in runs:
        same = (
            group
            for group in groups
            if _recipe(run) is not None and _recipe(run) == _recipe(group[0]) and _seed(run) not in map(_seed, group)
        )
        group = next(same, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return groups


def _recipe(run: EvaluatedRun) -> tuple[str, bool] | None:
    """What runs over seeds have in common; None where it is not known."""
    evaluated = run.results.evaluated
    return None if evaluated.recipe is None else (evaluated.recipe, evaluated.weights.startswith("raw"))


def _seed(run: EvaluatedRun) -> int | None:
    return run.results.evaluated.seed


def _names(groups: Sequence[Sequence[EvaluatedRun]]) -> list[str]:
    """A name for each row, no two the same."""
    first = [group[0] for group in groups]
    names = [", ".join(filter(None, (run.results.evaluated.model, run.results.evaluated.scheme))) for run in first]
    return [
        name if names.count(name) == 1 else f"{name} ({run.folder})" for name, run in zip(names, first, strict=True)
    ]


def _about_steps(name: str, group: Iterable[EvaluatedRun]) -> list[str]:
    steps = dict.fromkeys(run.results.evaluated.step for run in group)
    return [f"{name}: a mean over runs at steps {', '.join(map(str, steps))}"] if len(steps) > 1 else []


def _of_one_task(name: str, found: Mapping[int | None, Mapping[Column, Measurement]]) -> tuple[BySeed, list[str]]:
    """What the runs of a row measured, by column and seed, and what of it cannot be averaged."""
    by_seed: BySeed = {}
    mixed: dict[str, list[str]] = {}
    rarer: dict[str, list[str]] = {}
    for column in dict.fromkeys(column for columns in found.values() for column in columns):
        measured = {seed: columns[column] for seed, columns in found.items() if column in columns}
        one, *others = measured.values()
        differing = dict.fromkeys(words for other in others for words in one.differences(other))
        if differing:
            mixed.setdefault("; ".join(differing), []).append(column.title)
            continue
        by_seed[column] = measured
        if len(measured) < len(found):
            rarer.setdefault(f"{len(measured)} of {len(found)} runs", []).append(column.title)
    notes = [f"{name}: no mean over its runs, which differ in {why}: {'; '.join(of)}" for why, of in mixed.items()]
    return by_seed, notes + [f"{name}: measured of {number}: {'; '.join(of)}" for number, of in rarer.items()]


def _differences(name: str, by_seed: BySeed, first: BySeed) -> tuple[dict[Column, Difference], list[str]]:
    """To the first row, where that makes sense, and why not elsewhere."""
    differences: dict[Column, Difference] = {}
    incomparable: dict[str, list[str]] = {}
    for column, measured in by_seed.items():
        if column not in first:
            continue
        of_first = first[column]
        differing = next(iter(of_first.values())).differences(next(iter(measured.values())))
        if differing:
            incomparable.setdefault("; ".join(differing), []).append(column.title)
        elif measured.keys() == of_first.keys() and None not in measured:
            pairs = [measured[seed].value - of_first[seed].value for seed in measured]
            differences[column] = Difference(Estimate.of(pairs), paired=True)
        else:
            difference = _estimate(measured).unpaired_difference(_estimate(of_first))
            differences[column] = Difference(difference, paired=False)
    notes = [
        f"{name}: no difference to the first row, from which it differs in {why}: {'; '.join(of)}"
        for why, of in incomparable.items()
    ]
    return differences, notes


def _estimate(measured: Mapping[int | None, Measurement]) -> Estimate:
    return Estimate.of([measurement.value for measurement in measured.values()])


def _run_as_values(run: EvaluatedRun) -> dict[str, Any]:
    evaluated = run.results.evaluated
    known = ("model", "scheme", "dataset", "seed", "step", "weights", "input_image_size", "recipe")
    return {"folder": run.folder, **{name: getattr(evaluated, name) for name in known}}


def _as_values(estimate: Estimate) -> dict[str, float | None]:
    error = estimate.standard_error
    return {"mean": estimate.mean, "standard_error": None if math.isnan(error) else error}
