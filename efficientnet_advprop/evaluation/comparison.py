"""Runs beside each other: means over seeds, differences to one row, and what cannot be subtracted."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from efficientnet_advprop.evaluation.attack_curve import masked_gradient_warnings
from efficientnet_advprop.evaluation.estimates import Difference, Estimate, is_not_zero
from efficientnet_advprop.evaluation.measurements import Column, Found, Measurement, measurements
from efficientnet_advprop.evaluation.results import RunResults

# What the runs of a row measured: seed -> measurement of each column.
BySeed = dict[Column, dict[int | None, Measurement]]


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """One run that takes part.

    Attributes:
        folder: as it was named; of a study's run with its key.
        results: of its evaluation.
        label: in tables; None is model, and the study's row or the scheme.
    """

    folder: str
    results: RunResults
    label: str | None = None

    @property
    def seed(self) -> int | None:
        """Of its training."""
        return self.results.evaluated.seed

    @property
    def name(self) -> str:
        """What its row is called."""
        if self.label is not None:
            return self.label
        evaluated, training = self.results.evaluated, self.results.training
        return ", ".join(filter(None, (evaluated.model, training.row if training else evaluated.scheme)))

    @property
    def diverged(self) -> str | None:
        """Where it diverged, if it did."""
        return self.results.training and self.results.training.diverged


@dataclasses.dataclass(frozen=True)
class NetworkRow:
    """Runs that differ in their seed alone.

    Attributes:
        name: of its runs; with the first one's folder where rows would have the same.
        runs: one for each seed.
        values: by column, where all runs that have one are about the same images and attack.
        differences: to the baseline, where both have a value of the same images and attack; empty in the baseline.
        significant: columns of `values` that set two branches against each other and are significantly not zero.
    """

    name: str
    runs: tuple[EvaluatedRun, ...]
    values: dict[Column, Estimate]
    differences: dict[Column, Difference]
    significant: frozenset[Column]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Rows of runs.

    Attributes:
        columns: in which any row has a value.
        rows: in the order of their first runs; runs that diverged are in none.
        baseline: the name of the row that differences are to; None where it is not there.
        notes: what has to be known beside them.
    """

    columns: tuple[Column, ...]
    rows: tuple[NetworkRow, ...]
    baseline: str | None
    notes: tuple[str, ...]

    @property
    def models(self) -> list[str]:
        """The networks by name, each once."""
        return list(dict.fromkeys(run.results.evaluated.model for row in self.rows for run in row.runs))

    @property
    def others(self) -> list[NetworkRow]:
        """All rows but the baseline."""
        return [row for row in self.rows if row.name != self.baseline]

    def as_values(self) -> dict[str, Any]:
        """The comparison as JSON has it; fractions, unknown standard errors null."""
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
                        column.key: {
                            **_as_values(difference.estimate),
                            "paired": difference.paired,
                            "significant": difference.significant,
                        }
                        for column, difference in row.differences.items()
                    },
                    "significant": sorted(column.key for column in row.significant),
                }
                for row in self.rows
            ],
            "notes": list(self.notes),
        }


def compare(runs: Sequence[EvaluatedRun], baseline: str | None = None) -> Comparison:
    """Runs whose recipes differ in the seed alone are one row; every row is compared with one of them.

    Args:
        runs: one at least.
        baseline: the name of the row to compare with; the first if None.
    """
    diverged = [run for run in runs if run.diverged]
    notes = [f"**Diverged**, in no table: {run.name}, seed {run.seed}: {run.diverged}." for run in diverged]
    found: dict[str, Found] = {}
    for run in (run for run in runs if not run.diverged):
        found[run.folder], own_notes = measurements(run.results)
        warnings = [f"warning, {warning}" for warning in masked_gradient_warnings(run.results)]
        notes += [f"{run.folder}: {note}" for note in (*own_notes, *warnings)]
    groups = _by_recipe(run for run in runs if not run.diverged)
    named = dict(zip(_names(groups), groups, strict=True))
    measured: dict[str, BySeed] = {}
    for name, group in named.items():
        measured[name], own_notes = _of_one_task(name, {run.seed: found[run.folder] for run in group})
        notes += _about_steps(name, group) + own_notes
    if baseline is None:
        baseline = next(iter(named), None)
    rows = []
    for name, group in named.items():
        differences: dict[Column, Difference] = {}
        if baseline in named and name != baseline:
            differences, incomparable = _differences(name, measured[name], baseline, measured[baseline])
            notes += incomparable
        values = {column: _values(by_seed) for column, by_seed in measured[name].items()}
        rows.append(
            NetworkRow(
                name,
                tuple(group),
                {column: Estimate.of(list(by_seed.values())) for column, by_seed in values.items()},
                differences,
                frozenset(c for c, by_seed in values.items() if c.is_gap and is_not_zero(list(by_seed.values()))),
            )
        )
    columns = sorted({column for row in rows for column in row.values}, key=lambda column: column.place)
    return Comparison(tuple(columns), tuple(rows), baseline if baseline in named else None, tuple(notes))


def _by_recipe(runs: Iterable[EvaluatedRun]) -> list[list[EvaluatedRun]]:
    """Runs of one recipe and kind of weights together, a seed once; a seed's second run starts another row."""
    groups: list[list[EvaluatedRun]] = []
    for run in runs:
        same = (
            group
            for group in groups
            if _recipe(run) is not None
            and _recipe(run) == _recipe(group[0])
            and run.seed not in (other.seed for other in group)
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


def _names(groups: Sequence[Sequence[EvaluatedRun]]) -> list[str]:
    """A name for each row, no two the same."""
    first = [group[0] for group in groups]
    names = [run.name for run in first]
    return [
        name if names.count(name) == 1 else f"{name} ({run.folder})" for name, run in zip(names, first, strict=True)
    ]


def _about_steps(name: str, group: Iterable[EvaluatedRun]) -> list[str]:
    steps = dict.fromkeys(run.results.evaluated.step for run in group)
    return [f"{name}: a mean over runs at steps {', '.join(map(str, steps))}"] if len(steps) > 1 else []


def _of_one_task(name: str, found: Mapping[int | None, Found]) -> tuple[BySeed, list[str]]:
    """What the runs of a row measured, by column and seed, and what of it cannot be averaged."""
    by_seed: BySeed = {}
    mixed: dict[str, list[Column]] = {}
    rarer: dict[str, list[Column]] = {}
    for column in dict.fromkeys(column for columns in found.values() for column in columns):
        measured = {seed: columns[column] for seed, columns in found.items() if column in columns}
        one, *others = measured.values()
        differing = dict.fromkeys(words for other in others for words in one.differences(other))
        if differing:
            mixed.setdefault("; ".join(differing), []).append(column)
            continue
        by_seed[column] = measured
        if len(measured) < len(found):
            rarer.setdefault(f"{len(measured)} of {len(found)} runs", []).append(column)
    notes = [f"{name}: no mean over its runs, which differ in {why}: {_titles(of)}" for why, of in mixed.items()]
    return by_seed, notes + [f"{name}: measured of {number}: {_titles(of)}" for number, of in rarer.items()]


def _differences(
    name: str, by_seed: BySeed, baseline: str, theirs: BySeed
) -> tuple[dict[Column, Difference], list[str]]:
    """To the baseline, where that makes sense, and why not elsewhere."""
    differences: dict[Column, Difference] = {}
    incomparable: dict[str, list[Column]] = {}
    for column, measured in by_seed.items():
        if column not in theirs or column.is_gap:
            continue
        differing = next(iter(theirs[column].values())).differences(next(iter(measured.values())))
        if differing:
            incomparable.setdefault("; ".join(differing), []).append(column)
        else:
            differences[column] = Difference.between(_values(measured), _values(theirs[column]))
    notes = [
        f"{name}: no difference to {baseline}, from which it differs in {why}: {_titles(of)}"
        for why, of in incomparable.items()
    ]
    return differences, notes


def _titles(columns: Sequence[Column]) -> str:
    """Columns in words; single corruptions and gaps between branches only where nothing else is meant."""
    headlines = [column for column in columns if not column.corruption and not column.is_gap]
    return "; ".join(column.title for column in headlines or columns)


def _values(measured: Mapping[int | None, Measurement]) -> dict[int | None, float]:
    return {seed: measurement.value for seed, measurement in measured.items()}


def _run_as_values(run: EvaluatedRun) -> dict[str, Any]:
    evaluated = run.results.evaluated
    known = ("model", "scheme", "dataset", "seed", "step", "weights", "input_image_size", "recipe")
    return {"folder": run.folder, **{name: getattr(evaluated, name) for name in known}}


def _as_values(estimate: Estimate) -> dict[str, float | None]:
    error = estimate.standard_error
    return {"mean": estimate.mean, "standard_error": None if math.isnan(error) else error}
