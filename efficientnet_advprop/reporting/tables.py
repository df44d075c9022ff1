"""Numbers as text."""

from collections.abc import Mapping
from typing import Any

import tabulate

_SHARES = ("top1", "top5")


def format_values(values: Mapping[str, float]) -> str:
    """Named results on one line; accuracies, which are fractions, in percent."""
    return "  ".join(f"{name} {_format(name, value)}" for name, value in values.items())


def summary_table(summary: Mapping[str, Any]) -> str:
    """The last thing a run prints: its results, and the paths of what it wrote."""
    rows = [(name, _format(name, value)) for name, value in summary.items() if not isinstance(value, Mapping)]
    return tabulate.tabulate(rows, tablefmt="simple", disable_numparse=True)


def _format(name: str, value: Any) -> str:
    if name.startswith(_SHARES):
        return f"{100 * value:.2f} %"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
