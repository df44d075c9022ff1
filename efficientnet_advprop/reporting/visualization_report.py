"""The page of `--mode=visualize`: what was drawn, of which networks, with which settings."""

import dataclasses
import os
from collections.abc import Sequence

from efficientnet_advprop.reporting.markdown import bullets, figure, table, write_report

PAGE = "visualization.md"


@dataclasses.dataclass(frozen=True)
class Section:
    """One kind of figure.

    Attributes:
        title: of the section.
        text: what was computed, with settings.
        figures: (path inside the page's folder, caption).
        headers: of the table; empty without a table.
        rows: of the table.
    """

    title: str
    text: str
    figures: Sequence[tuple[str, str]] = ()
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[str | int]] = ()


def write_visualization(
    folder: str, facts: Sequence[str], networks: Sequence[Sequence[str]], sections: Sequence[Section]
) -> str:
    """Write the page, whole or not at all; returns its path.

    Args:
        folder: of the page.
        facts: command, seed and devices, one per line.
        networks: name, network, scheme, weights and branches of each.
        sections: what was drawn, or why not.
    """
    parts = [
        "# Visualization",
        bullets(facts),
        table(networks, ("name", "network", "scheme", "weights", "branches")),
    ]
    for section in sections:
        parts += [f"## {section.title}", section.text]
        parts += [table(section.rows, section.headers)] if section.rows else []
        parts += [figure(file, caption) for file, caption in section.figures]
    return write_report(os.path.join(folder, PAGE), parts, ())
