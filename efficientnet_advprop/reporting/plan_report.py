"""A plan as text."""

from collections.abc import Mapping
from typing import Any

import tabulate

from efficientnet_advprop.recipes import Recipe
from efficientnet_advprop.reporting.tables import describe_recipe

_GIB = 2**30
_RULE = (
    "Counted: a backward pass is two forward passes, an attack step (gradient of the images alone) two in all, --remat "
    "one more per backward pass."
)
_LARGEST = "largest: clean images per replica and micro-batch that fit; batch: the recipe's, on one replica."


def describe_plan(plan: Mapping[str, Any], recipe: Recipe) -> str:
    """A plan in tables: network, schemes, memory, time.

    Args:
        plan: the values of `modes.plan.make_plan`.
        recipe: of the run.
    """
    parameters = ", ".join(f"{part} {count:,}" for part, count in plan["parameters"].items())
    refused = [f"not possible: {name}: {reason}" for name, reason in plan["refused_schemes"].items()]
    return "\n".join(
        (
            describe_recipe(recipe),
            f"trained parameters: {parameters}; {sum(plan['parameters'].values()):,} in all",
            f"multiply-adds of inference: {plan['multiply_adds'] / 1e9:.2f} G per image",
            "",
            _table(_schemes(plan), ("scheme", "passes", "as papers count", "multiply-adds", "x vanilla")),
            f"Passes and multiply-adds per clean image and step. {_RULE}",
            *refused,
            "",
            _table(_memory(plan), ("memory", "replicas", "GiB", "largest", "--remat", "batch", "GiB planned", "flags")),
            _LARGEST,
            "",
            _table(_input(plan), ("input", "of peak TFLOPS", "images/s", "CPU cores")),
            _sources(plan),
            "",
            _table(_hours(plan), ("hours", *(name.replace("_", "\n") for name in plan["schemes"]))),
            "r: with --remat. Evaluation, checkpoints and the start are not in it.",
            *_reasons(plan),
        )
    )


def _table(rows: list[tuple[str, ...]], headers: tuple[str, ...]) -> str:
    alignment = ("left", *("right",) * (len(headers) - 1))
    if headers[-1] == "flags":
        alignment = (*alignment[:-1], "left")
    return tabulate.tabulate(rows, headers, "simple", disable_numparse=True, colalign=alignment)


def _schemes(plan: Mapping[str, Any]) -> list[tuple[str, ...]]:
    own = plan["multiply_adds"] * 3
    return [
        (
            f"{name} *" if name == plan["scheme"] else name,
            f"{costs['passes']:.2f}",
            f"{costs['passes_of_the_papers']:.2f}",
            f"{costs['multiply_adds'] / 1e9:.4g} G",
            f"{costs['multiply_adds'] / own:.2f}",
        )
        for name, costs in plan["schemes"].items()
    ]


def _memory(plan: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for device in plan["devices"]:
        own, largest = device["schemes"][plan["scheme"]], device["largest_batch"]
        planned = device["planned_bytes"]
        per_replica, rest = divmod(plan["train_batch_size"], device["replicas"])
        rows.append(
            (
                device["name"],
                str(device["replicas"]),
                f"{device['usable_bytes'] / _GIB:.2f}",
                str(largest["plain"]),
                str(largest.get("remat", "-")),
                "-" if rest else str(per_replica),
                f"{planned / _GIB:.1f}" if planned else "-",
                own.get("flags") or own["reason"],
            )
        )
    return rows


def _input(plan: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            device["name"],
            f"{100 * device['utilisation']:.3g} % of {device['accelerator']['peak_tflops']:g} x {device['replicas']}",
            f"{device['images_per_second']:.4g}" if device["images_per_second"] else "-",
            f"{device['input_cores']:.1f}" if device["input_cores"] else "-",
        )
        for device in plan["devices"]
    ]


def _sources(plan: Mapping[str, Any]) -> str:
    seconds = plan["input_cpu_seconds_per_image"]
    cores = f"{1e3 * seconds:.1f} ms of a core per image" if seconds else "images of this kind were not measured"
    kind = "with" if plan["has_depthwise_convolutions"] else "without"
    rate = (
        "--utilisation gives the part of the peak rate"
        if plan["utilisation_is_given"]
        else f"the part of the peak rate that a network {kind} depthwise convolutions lets expect, by the bandwidth of the "
        "memory; --utilisation=0.3 counts on another"
    )
    return f"images/s: clean images that the input has to deliver, {cores} (docs/input_pipeline.md); {rate}."


def _reasons(plan: Mapping[str, Any]) -> list[str]:
    """Why a scheme has no hours on some machines, a line for each reason."""
    machines: dict[str, list[str]] = {}
    for device in plan["devices"]:
        for name, one in device["schemes"].items():
            if one["hours"] is None:
                machines.setdefault(f"{name}: {one['reason']}", []).append(device["name"])
    return [f"- {reason} ({', '.join(names)})" for reason, names in machines.items()]


def _hours(plan: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            device["name"],
            *(
                f"{one['hours']:.3g}{' r' if one['remat'] else ''}" if one["hours"] else "-"
                for one in device["schemes"].values()
            ),
        )
        for device in plan["devices"]
    ]
