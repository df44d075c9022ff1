"""The comparison of evaluated runs: means over seeds, and differences to a baseline where they make sense."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from efficientnet_advprop.evaluation.attack_curve import masked_gradient_warnings
from efficientnet_advprop.evaluation.estimates import Difference, Estimate, is_not_zero
from efficientnet_advprop.evaluation.measurements import Column, Found, Measurement, measurements
from efficientnet_advprop.evaluation.results import RunResults

# Measurements of a row: column -> seed -> measurement.
BySeed = dict[Column, dict[int | None, Measurement]]


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """A run to compare.

    Attributes:
        folder: path that identifies it; for a study's run, the study's folder and the trial's key.
        results: of its evaluation.
        label: in tables; None: the model, and the study's row or the scheme.
    """

    folder: str
    results: RunResults
    label: str | None = None

    @property
    def seed(self) -> int | None:
        """The seed of its training."""
        return self.results.evaluated.seed

    @property
    def name(self) -> str:
        """The name of its row."""
        if self.label is not None:
            return self.label
        evaluated, training = self.results.evaluated, self.results.training
        return ", ".join(filter(None, (evaluated.model, training.row if training else evaluated.scheme)))

    @property
    def diverged(self) -> str | None:
        """Where it diverged; None if it did not."""
        return self.results.training and self.results.training.diverged


@dataclasses.dataclass(frozen=True)
class NetworkRow:
    """Runs that differ only in their seed.

    Attributes:
        name: of its runs; with the first run's folder if rows would have the same name.
        runs: one for each seed.
        values: by column, if all runs with a value measured it on the same images with the same attack.
        differences: to the baseline, if both rows have a value for the same images and attack; empty for the baseline.
        significant: columns of `values` that compare two branches and differ significantly from zero.
    """

    name: str
    runs: tuple[EvaluatedRun, ...]
    values: dict[Column, Estimate]
    differences: dict[Column, Difference]
    significant: frozenset[Column]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Rows of runs, and columns of measurements.

    Attributes:
        columns: those in which any row has a value.
        rows: in the order of their first runs; without the runs that diverged.
        baseline: name of the row that the others are compared with; None if there is no such row.
        notes: what a reader has to know, in sentences.
    """

    columns: tuple[Column, ...]
    rows: tuple[NetworkRow, ...]
    baseline: str | None
    notes: tuple[str, ...]

    @property
    def models(self) -> list[str]:
        """The distinct names of the networks."""
        return list(dict.fromkeys(run.results.evaluated.model for row in self.rows for run in row.runs))

    @property
    def others(self) -> list[NetworkRow]:
        """All rows but the baseline."""
        return [row for row in self.rows if row.name != self.baseline]

    def as_values(self) -> dict[str, Any]:
        """The comparison as JSON; values are fractions, unknown standard errors are null."""
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
    """Group runs whose recipes differ only in the seed into rows, and compare every row with one of them.

    Args:
        runs: at least one.
        baseline: name of the row to compare with; None is the first row.
    """
    notes = [f"**Diverged**, in no table: {run.name}, seed {run.seed}: {run.diverged}." for run in runs if run.diverged]
    finished = [run for run in runs if not run.diverged]
    found: dict[str, Found] = {}
    for run in finished:
        found[run.folder], own_notes = measurements(run.results)
        warnings = [f"warning, {warning}" for warning in masked_gradient_warnings(run.results)]
        notes += [f"{run.folder}: {note}" for note in (*own_notes, *warnings)]
    groups = _by_recipe(finished)
    named = dict(zip(_names(groups), groups, strict=True))
    measured: dict[str, BySeed] = {}
    for name, group in named.items():
        measured[name], own_notes = _of_one_task(name, {run.seed: found[run.folder] for run in group})
        steps = dict.fromkeys(run.results.evaluated.step for run in group)
        if len(steps) > 1:
            notes.append(f"{name}: a mean over runs at steps {', '.join(map(str, steps))}")
        notes += own_notes
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
    """Runs of one recipe and kind of weights together; the second run of a seed starts another row."""
    groups: list[list[EvaluatedRun]] = []
    for run in runs:
        for group in groups:
            is_same = _recipe(run) is not None and _recipe(run) == _recipe(group[0])
            if is_same and run.seed not in (other.seed for other in group):
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def _recipe(run: EvaluatedRun) -> tuple[str, bool] | None:
    """Recipe and kind of weights, which the runs of a row share; None if unknown."""
    evaluated = run.results.evaluated
    return None if evaluated.recipe is None else (evaluated.recipe, evaluated.weights.startswith("raw"))


def _names(groups: Sequence[Sequence[EvaluatedRun]]) -> list[str]:
    """A unique name for each row."""
    names = [group[0].name for group in groups]
    return [
        name if names.count(name) == 1 else f"{name} ({group[0].folder})"
        for name, group in zip(names, groups, strict=True)
    ]


def _of_one_task(name: str, found: Mapping[int | None, Found]) -> tuple[BySeed, list[str]]:
    """Measurements of a row by column and seed, and notes on those that cannot be averaged."""
    by_seed: BySeed = {}
    mixed: dict[str, list[Column]] = {}
    partly_measured: dict[str, list[Column]] = {}
    for column in dict.fromkeys(column for columns in found.values() for column in columns):
        measured = {seed: columns[column] for seed, columns in found.items() if column in columns}
        one, *others = measured.values()
        differing = dict.fromkeys(words for other in others for words in one.differences(other))
        if differing:
            mixed.setdefault("; ".join(differing), []).append(column)
            continue
        by_seed[column] = measured
        if len(measured) < len(found):
            partly_measured.setdefault(f"{len(measured)} of {len(found)} runs", []).append(column)
    notes = [f"{name}: no mean over its runs, which differ in {why}: {_titles(of)}" for why, of in mixed.items()]
    notes += [f"{name}: measured in only {number}: {_titles(of)}" for number, of in partly_measured.items()]
    return by_seed, notes


def _differences(
    name: str, by_seed: BySeed, baseline: str, theirs: BySeed
) -> tuple[dict[Column, Difference], list[str]]:
    """Differences to the baseline, and notes on columns that cannot be subtracted."""
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
    """Columns in words; single corruptions and gaps between branches only if there are no other columns."""
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
