"""The memory of training steps on TPUs: as their compiler plans it, and as this project estimates it.

    python -m benchmarks.accelerator.memory_table --markdown=docs/tpu_memory.md

Exports every case, and plans it with the environment of `make accelerator-tools`. Plans are kept in --plans, so that an
interrupted table goes on; a case takes one to ten minutes.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import tabulate
from absl import app, flags as absl_flags

PLANS = absl_flags.DEFINE_string("plans", "runs/tpu_plans", "Folder of the plans.")
MARKDOWN = absl_flags.DEFINE_string("markdown", None, "Markdown file to write the table to.")
PLANNER = absl_flags.DEFINE_string("planner", ".venv-accelerator/bin/python", "Python with JAX and libtpu.")

_GIB = 2**30
_HEADER = """\
HBM of one replica as the TPU compiler assigns buffers, without a TPU (`benchmarks/accelerator/plan_tpu.py`): arguments
and temporary buffers. The batch is that of the replica, the image size the network's own, the attack that of the recipe
(`pgd5`: five steps, 4 px). Narrow is width 0.25, depth 0.2. A v5e core has 16 GiB, of which 15.75 can be used.
"""


class Case(NamedTuple):
    """A step to plan.

    Attributes:
        name: of its files.
        topology: of the TPU.
        flags: of the step, for `export_step`.
    """

    name: str
    topology: str
    flags: tuple[str, ...]


def case(name: str, model: str, scheme: str, batch: int, *more: str, topology: str = "v5e:1x1") -> Case:
    """A case in bfloat16 unless the flags say otherwise."""
    given = (f"--model={model}", f"--scheme={scheme}", f"--train_batch_size={batch}", *more)
    precision = () if any("precision" in flag for flag in more) else ("--precision=bfloat16",)
    return Case(name, topology, (*given, *precision))


_B0, _B7, _NARROW = "efficientnet-b0", "efficientnet-b7", ("--width_coefficient=0.25", "--depth_coefficient=0.2")
_FLOAT32, _PGD5 = "--precision=float32", ("--attack_steps=5", "--attack_epsilon=4")
CASES = (
    case("b0-vanilla-32", _B0, "vanilla", 32),
    case("b0-advprop-32", _B0, "advprop", 32),
    case("b0-advprop-pgd5-32", _B0, "advprop", 32, *_PGD5),
    case("b0-vanilla-128", _B0, "vanilla", 128),
    case("b0-advprop-128", _B0, "advprop", 128),
    case("b0-vanilla-128-remat", _B0, "vanilla", 128, "--remat"),
    case("b0-advprop-128-remat", _B0, "advprop", 128, "--remat"),
    case("b0-advprop-128-micro", _B0, "advprop", 128, "--micro_batches=4"),
    case("b0-vanilla-32-float32", _B0, "vanilla", 32, _FLOAT32),
    case("b0-advprop-32-float32", _B0, "advprop", 32, _FLOAT32),
    case("b0-fast-advprop-128", _B0, "fast_advprop", 128),
    case("b0-joint-32", _B0, "joint", 32),
    case("narrow-vanilla-32", _B0, "vanilla", 32, *_NARROW, _FLOAT32),
    case("narrow-advprop-32", _B0, "advprop", 32, *_NARROW, _FLOAT32),
    case("resnet-50-vanilla-64", "resnet-50", "vanilla", 64),
    case("resnet-50-advprop-64-remat", "resnet-50", "advprop", 64, "--remat"),
    case("b3-advprop-16", "efficientnet-b3", "advprop", 16),
    case("b7-vanilla-8", _B7, "vanilla", 8, topology="v6e:1x1"),
    case("b7-advprop-8", _B7, "advprop", 8, topology="v6e:1x1"),
    case("b7-vanilla-8-remat", _B7, "vanilla", 8, "--remat", topology="v6e:1x1"),
    case("b7-advprop-8-remat", _B7, "advprop", 8, "--remat", topology="v6e:1x1"),
    case("b7-advprop-32-remat", _B7, "advprop", 32, "--remat"),
)


def planned(one: Case, folder: str) -> dict[str, Any]:
    """The plan of a case and the facts of its export, from its file if it is there."""
    path = os.path.join(folder, f"{one.name}.json")
    if not os.path.exists(path):
        with tempfile.TemporaryDirectory() as steps:
            step = os.path.join(steps, one.name)
            _run(sys.executable, "export_step", f"--step_file={step}", "--dataset=imagenet", *one.flags)
            plan = json.loads(_run(PLANNER.value, "plan_tpu", step, f"--topology={one.topology}"))
            with open(f"{step}.json") as file:
                plan["step"] = json.load(file)
        if "error" in plan:
            raise SystemExit(f"error: {one.name}: {plan['error']}")
        with open(path, "w") as file:
            json.dump(plan, file, indent=2)
    with open(path) as file:
        return json.load(file)


def _run(python: str, module: str, *arguments: str) -> str:
    """The last line that a module of this package prints."""
    command = (python, "-m", f"{__package__}.{module}", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip().splitlines()[-1]


def report(plans: Mapping[Case, dict[str, Any]]) -> str:
    """A table of the cases, and how many estimates are near their plans."""
    ratios = [plan["step"]["estimated_bytes"] / plan["hbm_bytes"] for plan in plans.values()]
    rows = [
        (
            one.name,
            one.topology.partition(":")[0],
            f"{plan['temporary_bytes'] / _GIB:.2f}",
            f"{plan['hbm_bytes'] / _GIB:.2f}",
            f"{plan['step']['estimated_bytes'] / _GIB:.2f}",
            f"{ratio:.2f}",
        )
        for (one, plan), ratio in zip(plans.items(), ratios, strict=True)
    ]
    near = [sum(abs(ratio - 1) <= limit for ratio in ratios) for limit in (0.15, 0.25)]
    headers = ("step", "TPU", "temporary GiB", "planned GiB", "estimated GiB", "estimated / planned")
    return (
        f"{tabulate.tabulate(rows, headers, 'github', disable_numparse=True)}\n\n"
        f"{near[0]} of {len(ratios)} estimates are within 15 % of the plan, {near[1]} within 25 %."
    )


def main(argv: list[str]) -> None:
    """Plan the cases and report."""
    del argv
    os.makedirs(PLANS.value, exist_ok=True)
    plans = {}
    for one in CASES:
        plans[one] = planned(one, PLANS.value)
        print(one.name, f"{plans[one]['hbm_bytes'] / _GIB:.2f} GiB", flush=True)
    text = report(plans)
    print(text)
    if MARKDOWN.value:
        command = f"python -m {__package__}.memory_table --markdown={MARKDOWN.value}"
        with open(MARKDOWN.value, "w") as file:
            file.write(f"# Memory of training steps on TPUs\n\n`{command}`\n\n{_HEADER}\n{text}\n")


if __name__ == "__main__":
    app.run(main)
