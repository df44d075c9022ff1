"""The memory of training steps on TPUs: as their compiler plans it, and as this project estimates it.

    python -m benchmarks.accelerator.memory_table --markdown=docs/tpu_memory.md

Exports every case, and plans it with the environment of `make accelerator-tools`. Plans are kept in --plans, so that an
interrupted table goes on; a case takes one to ten minutes.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import tempfile
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import tabulate
import tensorflow as tf

import tpu_utils
from benchmarks.accelerator.export_step import export
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import Recipe, named_recipe, override
from efficientnet_advprop.training.memory import step_memory

_GIB = 2**30
_HEADER = """\
HBM of one replica as the TPU compiler assigns buffers, without a TPU (`benchmarks/accelerator/plan_tpu.py`): arguments
and temporary buffers. The batch is that of the replica, the image size the network's own, the attack that of the recipe
(`pgd5`: five steps, 4 px). Narrow is width 0.25, depth 0.2. A v5e core has 16 GiB, of which 15.75 can be used.
"""


class Case(NamedTuple):
    """A step to plan: the ImageNet recipe of a model and a scheme, with changes.

    Attributes:
        name: of its plan.
        model: network.
        scheme: training scheme.
        batch: clean images of the replica.
        remat: whether blocks are recomputed.
        precision: of the layers.
        topology: of the TPU.
        changes: other recipe values by path.
    """

    name: str
    model: str
    scheme: str
    batch: int
    remat: bool = False
    precision: str = "bfloat16"
    topology: str = "v5e:1x1"
    changes: Mapping[str, Any] = types.MappingProxyType({})

    @property
    def recipe(self) -> Recipe:
        """The recipe of the step."""
        changes = {**self.changes, "train_batch_size": self.batch}
        return override(named_recipe(self.model, "imagenet", self.scheme), changes)


_B0, _B7, _R50 = "efficientnet-b0", "efficientnet-b7", "resnet-50"
_NARROW = {"network.width_coefficient": 0.25, "network.depth_coefficient": 0.2}
_PGD5 = {"attack.num_steps": 5, "attack.epsilon_px": 4.0}
CASES = (
    Case("b0-vanilla-32", _B0, "vanilla", 32),
    Case("b0-advprop-32", _B0, "advprop", 32),
    Case("b0-advprop-32-pgd5", _B0, "advprop", 32, changes=_PGD5),
    Case("b0-vanilla-128", _B0, "vanilla", 128),
    Case("b0-advprop-128", _B0, "advprop", 128),
    Case("b0-vanilla-128-remat", _B0, "vanilla", 128, remat=True),
    Case("b0-advprop-128-remat", _B0, "advprop", 128, remat=True),
    Case("b0-advprop-128-micro-4", _B0, "advprop", 128, changes={"micro_batches": 4}),
    Case("b0-vanilla-32-float32", _B0, "vanilla", 32, precision="float32"),
    Case("b0-advprop-32-float32", _B0, "advprop", 32, precision="float32"),
    Case("b0-fast-advprop-128", _B0, "fast_advprop", 128),
    Case("b0-joint-32", _B0, "joint", 32),
    Case("narrow-vanilla-32-float32", _B0, "vanilla", 32, precision="float32", changes=_NARROW),
    Case("narrow-advprop-32-float32", _B0, "advprop", 32, precision="float32", changes=_NARROW),
    Case("resnet-50-vanilla-64", _R50, "vanilla", 64),
    Case("resnet-50-advprop-64-remat", _R50, "advprop", 64, remat=True),
    Case("b3-advprop-16", "efficientnet-b3", "advprop", 16),
    Case("b7-vanilla-8", _B7, "vanilla", 8, topology="v6e:1x1"),
    Case("b7-advprop-8", _B7, "advprop", 8, topology="v6e:1x1"),
    Case("b7-vanilla-8-remat", _B7, "vanilla", 8, remat=True, topology="v6e:1x1"),
    Case("b7-advprop-8-remat", _B7, "advprop", 8, remat=True, topology="v6e:1x1"),
    Case("b7-advprop-8-v5e", _B7, "advprop", 8),
    Case("b7-advprop-32-remat-v5e", _B7, "advprop", 32, remat=True),
)


def planned(one: Case, folder: str, planner: str) -> dict[str, Any]:
    """The plan of a case, from its file if it is there, else made by this Python with JAX and libtpu."""
    path = os.path.join(folder, f"{one.name}.json")
    if not os.path.exists(path):
        with tempfile.TemporaryDirectory() as steps:
            step = os.path.join(steps, one.name)
            # In a process of its own, which gives its memory back: several GB for B7.
            child = multiprocessing.get_context("spawn").Process(target=_export, args=(one.name, step))
            child.start()
            child.join()
            if child.exitcode:
                raise SystemExit(f"error: {one.name}: its export failed")
            plan = json.loads(_run(planner, "plan_tpu", step, f"--topology={one.topology}"))
        with open(path, "w") as file:
            json.dump(plan, file, indent=2)
    with open(path) as file:
        return json.load(file)


def _export(name: str, path: str) -> None:
    (one,) = (case for case in CASES if case.name == name)
    tpu_utils.set_graph_optimizer(False)
    tpu_utils.set_precision(one.precision, tf.distribute.get_strategy())
    export(one.recipe, one.remat, one.precision, path, steps=0)


def estimated(one: Case) -> int:
    """The estimate of a case, in bytes."""
    recipe = one.recipe
    model = build_model(recipe.network, recipe.data.num_label_classes, recipe.branches)
    images, value_bytes = one.batch // recipe.micro_batches, tf.as_dtype(one.precision).size
    return step_memory(model, recipe, images, one.remat, value_bytes, on_tpu=True).total


def _run(python: str, module: str, *arguments: str) -> str:
    """The last line that a module of this package prints."""
    command = (python, "-m", f"{__package__}.{module}", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return done.stdout.strip().splitlines()[-1]


def report(plans: Mapping[str, dict[str, Any]], estimates: Mapping[str, int]) -> str:
    """A table of the cases, and how many estimates are near their plans."""
    ratios = [estimates[one.name] / plans[one.name]["hbm_bytes"] for one in CASES]
    rows = [
        (
            one.name,
            one.topology.partition(":")[0],
            f"{plans[one.name]['temporary_bytes'] / _GIB:.2f}",
            f"{plans[one.name]['hbm_bytes'] / _GIB:.2f}",
            f"{estimates[one.name] / _GIB:.2f}",
            f"{ratio:.2f}",
        )
        for one, ratio in zip(CASES, ratios, strict=True)
    ]
    near = [sum(abs(ratio - 1) <= limit for ratio in ratios) for limit in (0.15, 0.25)]
    headers = ("step", "TPU", "temporary GiB", "planned GiB", "estimated GiB", "estimated / planned")
    return (
        f"{tabulate.tabulate(rows, headers, 'github', disable_numparse=True)}\n\n"
        f"{near[0]} of {len(ratios)} estimates are within 15 % of the plan, {near[1]} within 25 %."
    )


def main() -> None:
    """Plan the cases and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", default="runs/tpu_plans", help="folder of the plans")
    parser.add_argument("--markdown", help="Markdown file to write the table to")
    parser.add_argument("--planner", default=".venv-accelerator/bin/python", help="Python with JAX and libtpu")
    arguments = parser.parse_args()
    os.makedirs(arguments.plans, exist_ok=True)
    plans = {}
    for one in CASES:
        plans[one.name] = planned(one, arguments.plans, arguments.planner)
        print(one.name, f"{plans[one.name]['hbm_bytes'] / _GIB:.2f} GiB", flush=True)
    text = report(plans, {one.name: estimated(one) for one in CASES})
    print(text)
    if arguments.markdown:
        command = f"python -m {__package__}.memory_table --markdown={arguments.markdown}"
        with open(arguments.markdown, "w") as file:
            file.write(f"# Memory of training steps on TPUs\n\n`{command}`\n\n{_HEADER}\n{text}\n")


if __name__ == "__main__":
    main()
