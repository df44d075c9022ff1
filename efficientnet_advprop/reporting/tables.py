"""Recipes and results as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import tabulate

from efficientnet_advprop.recipes import CROSS_ENTROPY, DataFacts, Recipe

_PREDICTIONS_SHOWN = 25
_FRACTIONS = ("top1", "top5")


def describe_recipe(recipe: Recipe) -> str:
    """A recipe in a few lines: network, length, optimizer, augmentation, loss."""
    peak = recipe.optimizer.peak_learning_rate(recipe.train_batch_size)
    lines = [
        f"{recipe.network.name} at {recipe.network.input_image_size} px on {recipe.data.dataset}, "
        f"scheme {recipe.scheme}",
        f"{recipe.total_steps} steps of {recipe.train_batch_size} clean images "
        f"({recipe.total_steps / recipe.steps_per_epoch:.1f} epochs of {recipe.data.num_train_images}); "
        f"{recipe.optimizer.optimizer}, peak learning rate {peak:g} ({recipe.optimizer.base_learning_rate:g} per 256)",
    ]
    if augmentation := recipe.data.augmentation_summary():
        lines.append(f"augmentation: {augmentation}")
    for phase in recipe.phases:
        until = "" if phase.until_epoch is None else f"until epoch {phase.until_epoch:g}: "
        until += "of the classifier alone: " if phase.classifier_only else ""
        terms = (
            f"{term.weight:g} x {'' if term.loss == CROSS_ENTROPY else f'{term.loss} of '}{term.name}@{term.branch}"
            + (f" ({term.attack.summary()})" if term.attack else "")
            for term in phase.terms
        )
        lines.append(f"loss: {until}{' + '.join(terms)}")
    attacks = [term.attack for term in recipe.attacking_terms]
    return "\n".join([*lines, *filter(None, dict.fromkeys(attack.about_reach() for attack in attacks))])


def describe_data(facts: DataFacts, recipe: Recipe) -> str:
    """Place and number of the images, and notes; numbers not counted are the recipe's, and marked as such."""
    data = recipe.data
    not_counted = [
        field for field in ("num_label_classes", "num_train_images", "num_eval_images") if field not in facts.known()
    ]
    line = (
        f"data: {facts.where}, {data.num_train_images} training and {data.num_eval_images} evaluation images "
        f"of {data.num_label_classes} classes"
    )
    if data.holdout_shards:
        line += f"; evaluation on the first {data.holdout_shards} training files, which are not trained on"
    if not_counted:
        line += f" ({', '.join(not_counted)}: the recipe's, not counted)"
    return "\n".join((line, *facts.notes))


def describe_variables(partition: Mapping[str, Sequence[Any]]) -> str:
    """The number of values of each part of a network on one line, moving statistics included.

    Args:
        partition: variables by branch, and "shared".
    """
    counts = {
        part: sum(variable.shape.num_elements() for variable in variables) for part, variables in partition.items()
    }
    parts = ", ".join(f"{part} {count:,}" for part, count in counts.items())
    return f"parameters: {parts}; {sum(counts.values()):,} in all"


def format_values(values: Mapping[str, float]) -> str:
    """Named results on one line; accuracies, which are fractions, are printed in percent."""
    return "  ".join(f"{name} {_format(name, value)}" for name, value in values.items())


def summary_table(summary: Mapping[str, Any]) -> str:
    """The results of a run and the paths of its files, which it prints at its end."""
    return tabulate.tabulate(summary_rows(summary), tablefmt="simple", disable_numparse=True)


def summary_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each result of a run."""
    return [(name, _format(name, value)) for name, value in summary.items() if not isinstance(value, Mapping | None)]


def prediction_table(predictions: Sequence[Mapping[str, Any]]) -> str:
    """Images and their most likely classes, for the first images only.

    Args:
        predictions: of each image its `file`, and `top`, a list of `name` and `probability`.
    """
    rows = [
        (prediction["file"], *(f"{best['name']} {100 * best['probability']:.1f} %" for best in prediction["top"]))
        for prediction in predictions[:_PREDICTIONS_SHOWN]
    ]
    headers = ("image", *(f"top {rank}" for rank in range(1, len(rows[0]))))
    table = tabulate.tabulate(rows, headers, tablefmt="simple", disable_numparse=True)
    left = len(predictions) - len(rows)
    return f"{table}\n... and {left} more" if left else table


def comparison_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Exported files of one network, one per row: difference of their predictions, sizes, times.

    Args:
        rows: one per file, all with the same names of values.
    """
    headers = [name.replace("_", " ") for name in rows[0]]
    cells = [[_format(name, value) for name, value in row.items()] for row in rows]
    return tabulate.tabulate(cells, headers, tablefmt="simple", disable_numparse=True)


def _format(name: str, value: Any) -> str:
    if name.startswith(_FRACTIONS):
        return f"{100 * value:.2f} %"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
