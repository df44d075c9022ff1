"""The export of a training step, and the reading of the TPU compiler's reports; JAX itself where it is installed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accelerator.export_step import export_from_flags
from benchmarks.accelerator.plan_tpu import assigned_bytes, largest_buffers
from efficientnet_advprop.recipes import RecipeError
from tests.command_line import set_flags

ROOT = Path(__file__).parents[1]
JAX = ROOT / ".venv-accelerator/bin/python"

ASSIGNMENT = """\
BufferAssignment:
allocation 0: size 100, parameter 0, shape |f32[5,5]| at ShapeIndex {}:
 value: <1 Arg_0 @0> (size=100,offset=0): f32[5,5]
allocation 1: size 30, maybe-live-out:
allocation 2: size 4096, color 1, preallocated-temp:
allocation 3: size 7000, preallocated-temp:
"""
REPORT = """\
Memory Space: default (color=0)
Total bytes: 31074816 (29.63MiB)
  cumulative_size;       size;       offset; used_by_n_values; shapes_list
  ------------------------------------------------------------
       512B(  0%);       512B;      4472832;                1; (f32[3,3,3,8], u32[])
    1.0KiB(  0%);    18.0KiB;      4472832;                1; 2xf32[8]
    1.5MiB(  0%);     1.5MiB;     20365312;                2; f32[8,32,32,3], pred[]
Memory Space: vmem (color=1)
    1.5GiB(  0%);     1.5GiB;     20365312;                2; f32[9]
"""


def test_reports_of_the_compiler():
    assert assigned_bytes(ASSIGNMENT) == {
        "temporary_bytes": 7000,
        "argument_bytes": 100,
        "other_bytes": 30,
        "hbm_bytes": 7130,
    }
    assert largest_buffers(REPORT, 2) == ["1.5 MiB f32[8,32,32,3], pred[]", "18.0 KiB 2xf32[8]"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--jit_compile", "--advprop"), "no effect on an exported step: --jit_compile$"),
        (("--mode=eval", "--init_checkpoint=x"), "no effect on an exported step: --mode, --init_checkpoint$"),
        (("--use_bfloat16", "--precision=float16"), "give one of them"),
    ],
)
def test_an_export_refuses_flags_without_effect_and_contradictions(arguments, reason, tmp_path):
    with pytest.raises(RecipeError, match=reason):
        export_from_flags(set_flags(*arguments), str(tmp_path / "step"), 0)


@pytest.fixture(scope="module")
def step(tmp_path_factory) -> str:
    """An exported AdvProp step of a narrow network, with the values of two steps."""
    path = tmp_path_factory.mktemp("steps") / "narrow"
    command = (sys.executable, "-m", "benchmarks.accelerator.export_step", f"--step_file={path}", "--steps=2")
    narrow = ("--width_coefficient=0.25", "--depth_coefficient=0.2", "--input_image_size=16", "--train_batch_size=8")
    subprocess.run([*command, "--advprop", *narrow], check=True, cwd=ROOT)
    return str(path)


def test_an_export_has_the_module_its_facts_and_the_values_of_its_steps(step):
    facts = json.loads(Path(f"{step}.json").read_text())
    assert (facts["scheme"], facts["batch_size"], facts["remat"]) == ("advprop", 8, False)
    assert b"opt-barrier" in Path(f"{step}.hlo.pb").read_bytes()
    values = np.load(f"{step}.npz")
    arguments = [name for name in values if name.startswith("argument/")]
    assert len(arguments) == 2 + len(facts["variables"])
    metrics = {name.split("/", 2)[2] for name in values if name.startswith("metric/1/")}
    assert metrics == set(facts["metrics"])
    counter = facts["variables"].index(next(name for name in facts["variables"] if name.startswith("iteration")))
    assert (values[f"argument/{2 + counter}"], values[f"variable/{counter}"]) == (0, 2)
    assert values["metric/1/loss/clean"] > 0


@pytest.mark.skipif(not JAX.exists(), reason="make accelerator-tools installs JAX")
def test_jax_computes_what_tensorflow_does(step):
    command = (str(JAX), "-m", "benchmarks.accelerator.run_step", step, "--seconds=0")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["steps"] == 2
    assert facts["metrics_differ_by"] < 1e-4 and facts["weights_differ_by"] < 1e-5
