"""Parts of Markdown reports: tables, numbers in percent, figures with captions."""

import math
import os
from collections.abc import Sequence

import tabulate

from efficientnet_advprop.evaluation import Estimate
from efficientnet_advprop.files import write_atomic

MARKDOWN = "github"
PLAIN = "simple"


def table(rows: Sequence[Sequence[str | int]], headers: Sequence[str], style: str = MARKDOWN) -> str:
    """A table, without its empty columns; the first column is always kept.

    Args:
        rows: cells in the order of the headers.
        headers: of the columns.
        style: `MARKDOWN`, or `PLAIN` for terminals.
    """
    escaped = [[_escaped(cell) if style == MARKDOWN else cell for cell in row] for row in rows]
    shown = [place for place in range(len(headers)) if place == 0 or any(row[place] != "" for row in escaped)]
    cells = [[row[place] for place in shown] for row in escaped]
    return tabulate.tabulate(cells, [headers[place] for place in shown], tablefmt=style, disable_numparse=True)


def percent(value: float | Estimate | None, signed: bool = False) -> str:
    """A fraction in percent, with its standard error if that is known; empty for None."""
    if value is None:
        return ""
    if not isinstance(value, Estimate):
        value = Estimate(value, math.nan)
    rounded = round(100 * value.mean, 2) + 0.0  # no minus before a 0
    mean = f"{rounded:{'+' if signed else ''}.2f}"
    return mean if math.isnan(value.standard_error) else f"{mean} ± {100 * value.standard_error:.2f}"


def marked(text: str, is_significant: bool, style: str = MARKDOWN) -> str:
    """A difference in bold, on terminals with a star, where it is significant."""
    if not is_significant:
        return text
    return f"**{text}**" if style == MARKDOWN else f"{text} *"


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list with one item per line."""
    return "\n".join(f"- {line}" for line in lines)


def with_captions(figures: Sequence[tuple[str, str]]) -> list[str]:
    """Figures as parts of a report, from pairs (path relative to the report's folder, caption)."""
    return [f"![{os.path.basename(path)}]({path})\n\n{caption}" for path, caption in figures]


def write_report(path: str, parts: Sequence[str]) -> str:
    """Write a report of its non-empty parts, atomically; returns the path."""
    write_atomic(path, "\n\n".join(part for part in parts if part) + "\n")
    return path


def _escaped(cell: str | int) -> str | int:
    """Escape `|`, which ends a Markdown cell and may occur in class names."""
    return cell.replace("|", "\\|") if isinstance(cell, str) else cell
