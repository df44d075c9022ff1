"""A plan as text."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tabulate

from efficientnet_advprop.recipes import Recipe
from efficientnet_advprop.reporting.tables import describe_recipe

_GIB = 2**30
_WIDTH = 120
_PASSES = (
    "Per clean image and step. A backward pass counts as two forward passes; an attack step, which needs the gradient "
    "of the images alone, as two in all; papers count a whole pass for it. --remat adds one to every backward pass."
)
_MEMORY = (
    "GiB: what a program can have of a replica's memory. most images: clean ones of a micro-batch that fit. "
    "batch: the recipe's, per replica. planned: the memory of its step with these flags."
)
_UTILISATION = (
    "peak: the part of the peak rate to expect of a network {} depthwise convolutions, by the memory's bandwidth "
    "(docs/accelerators.md); --utilisation=0.3 counts on another."
)
_INPUT = "images/s: clean images that the input has to deliver, {} (docs/input_pipeline.md)."
_HOURS = "Evaluation, checkpoints and the start are not in it. r: with --remat."

Row = tuple[str, ...]


def describe_plan(plan: Mapping[str, Any], recipe: Recipe) -> str:
    """A plan in tables: network, schemes, memory, time.

    Args:
        plan: the values of `modes.plan.make_plan`.
        recipe: of the run.
    """
    parameters = ", ".join(f"{part} {count:,}" for part, count in plan["parameters"].items())
    seconds = plan["input_cpu_seconds_per_image"]
    cores = f"{1e3 * seconds:.1f} ms of a core each" if seconds else "of a kind that was not measured"
    kind = "with" if plan["has_depthwise_convolutions"] else "without"
    head = (
        describe_recipe(recipe),
        f"trained parameters: {parameters}; {sum(plan['parameters'].values()):,} in all",
        f"multiply-adds of inference: {plan['multiply_adds'] / 1e9:.4g} G per image",
    )
    sections = (
        (("scheme", "passes", "as papers count", "multiply-adds"), _schemes(plan), (_PASSES, *_refused(plan))),
        (
            ("memory", "replicas", "GiB", "most images", "--remat", "batch", "planned", "flags"),
            _memory(plan),
            (_MEMORY,),
        ),
        (
            ("speed", "peak", "images/s", "CPU cores"),
            _speed(plan),
            (*([] if plan["utilisation_is_given"] else [_UTILISATION.format(kind)]), _INPUT.format(cores)),
        ),
        (("hours", *(name.replace("_", "\n") for name in plan["schemes"])), _hours(plan), (_HOURS, *_reasons(plan))),
    )
    return "\n\n".join(("\n".join(head), *(_section(*section) for section in sections)))


def _section(headers: Row, rows: Iterable[Row], notes: Sequence[str]) -> str:
    """A table and notes below it; numbers to the right, first column and flags to the left."""
    alignment = ["left" if name in (headers[0], "flags") else "right" for name in headers]
    table = tabulate.tabulate(rows, headers, "simple", disable_numparse=True, colalign=alignment)
    return "\n".join((table, *(textwrap.fill(note, _WIDTH) for note in notes)))


def _schemes(plan: Mapping[str, Any]) -> Iterable[Row]:
    for name, costs in plan["schemes"].items():
        yield (
            f"{name} *" if name == plan["scheme"] else name,
            f"{costs['passes']:.2f}",
            f"{costs['passes_of_the_papers']:.2f}",
            f"{costs['multiply_adds'] / 1e9:.4g} G",
        )


def _refused(plan: Mapping[str, Any]) -> list[str]:
    return [f"{name} is not possible: {reason}" for name, reason in plan["refused_schemes"].items()]


def _memory(plan: Mapping[str, Any]) -> Iterable[Row]:
    for device in plan["devices"]:
        own, largest = device["schemes"][plan["scheme"]], device["largest_batch"]
        per_replica, rest = divmod(plan["train_batch_size"], device["replicas"])
        yield (
            device["name"],
            str(device["replicas"]),
            f"{device['usable_bytes'] / _GIB:.2f}",
            str(largest["plain"]),
            str(largest.get("remat", "-")),
            "-" if rest else str(per_replica),
            f"{own['planned_bytes'] / _GIB:.1f}" if own["hours"] else "-",
            own.get("flags", "-"),
        )


def _speed(plan: Mapping[str, Any]) -> Iterable[Row]:
    for device in plan["devices"]:
        peak, rate = device["accelerator"]["peak_tflops"], device["schemes"][plan["scheme"]].get("images_per_second")
        yield (
            device["name"],
            f"{100 * device['utilisation']:.3g} % of {device['replicas']} x {peak:g} TFLOPS",
            _number(rate),
            _number(device["input_cores"]),
        )


def _hours(plan: Mapping[str, Any]) -> Iterable[Row]:
    for device in plan["devices"]:
        of_schemes = device["schemes"].values()
        yield (device["name"], *(_hours_of(one["hours"]) + " r" * bool(one.get("remat")) for one in of_schemes))


def _hours_of(hours: float | None) -> str:
    return "< 0.1" if hours is not None and hours < 0.1 else _number(hours)


def _reasons(plan: Mapping[str, Any]) -> list[str]:
    """Why schemes have no hours on some machines, a line for each reason."""
    lines: dict[str, list[str]] = {}
    for device in plan["devices"]:
        reasons: dict[str, list[str]] = {}
        for name, one in device["schemes"].items():
            if one["hours"] is None:
                reasons.setdefault(one["reason"], []).append(name)
        for reason, names in reasons.items():
            which = "" if len(names) == len(device["schemes"]) else f"{', '.join(names)}: "
            lines.setdefault(f"{which}{reason}", []).append(device["name"])
    return [f"-: {reason} ({', '.join(names)})" for reason, names in lines.items()]


def _number(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
