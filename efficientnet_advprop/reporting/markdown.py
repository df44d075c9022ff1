"""Elements of reports in Markdown: tables, numbers in percent, lists, figures with captions."""

import math
import os
from collections.abc import Sequence

import tabulate

from efficientnet_advprop.evaluation import Estimate
from efficientnet_advprop.files import write_atomic

MARKDOWN = "github"
PLAIN = "simple"


def table(rows: Sequence[Sequence[str | int]], headers: Sequence[str], style: str = MARKDOWN) -> str:
    """A table in the style `MARKDOWN`, or `PLAIN` for terminals; empty columns except the first are left out."""
    escaped = [[_escaped(cell) if style == MARKDOWN else cell for cell in row] for row in rows]
    shown = [place for place in range(len(headers)) if place == 0 or any(row[place] != "" for row in escaped)]
    cells = [[row[place] for place in shown] for row in escaped]
    return tabulate.tabulate(cells, [headers[place] for place in shown], tablefmt=style, disable_numparse=True)


def percent(value: float | Estimate | None, signed: bool = False) -> str:
    """A fraction in percent, with its standard error if it is known; empty for None."""
    if value is None:
        return ""
    if not isinstance(value, Estimate):
        value = Estimate(value, math.nan)
    rounded = round(100 * value.mean, 2) + 0.0  # no minus before a 0
    mean = f"{rounded:{'+' if signed else ''}.2f}"
    return mean if math.isnan(value.standard_error) else f"{mean} ± {100 * value.standard_error:.2f}"


def marked(text: str, is_significant: bool, style: str = MARKDOWN) -> str:
    """A significant difference in bold, or on terminals with a star."""
    if not is_significant:
        return text
    return f"**{text}**" if style == MARKDOWN else f"{text} *"


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list with one item per line."""
    return "\n".join(f"- {line}" for line in lines)


def write_report(path: str, parts: Sequence[str], figures: Sequence[tuple[str, str]]) -> str:
    """Write the parts of a report that are not empty, then its figures; whole or not at all. Returns the path.

    Args:
        path: of the report.
        parts: paragraphs, tables and headings.
        figures: (path inside the report's folder, caption).
    """
    shown = [figure(file, caption) for file, caption in figures]
    write_atomic(path, "\n\n".join(part for part in (*parts, *shown) if part) + "\n")
    return path


def figure(file: str, caption: str) -> str:
    """A figure, whose path is inside the report's folder, above its caption."""
    return f"![{os.path.basename(file)}]({file})\n\n{caption}"


def _escaped(cell: str | int) -> str | int:
    """Names of classes may contain the character that ends a cell in Markdown."""
    return cell.replace("|", "\\|") if isinstance(cell, str) else cell
