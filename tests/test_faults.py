"""Flags and small files that nobody should write: one line, exit code 2, every file as it was.

`benchmarks/faults.py` tries thousands; here is what they found, and a small sample of them.
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import tensorflow as tf

import flags
from benchmarks import faults
from efficientnet_advprop import checkpoint_names
from efficientnet_advprop.evaluation import ResultsFile, read_observations, write_observation
from efficientnet_advprop.export import Description, ExportedWeights
from efficientnet_advprop.recipes import (
    Bounded,
    Bounds,
    JsonObject,
    RecipeError,
    StudySpec,
    from_values,
    named_recipe,
    override,
    plan,
)
from efficientnet_advprop.reporting.metrics_log import recorded_results
from efficientnet_advprop.training import run_folder
from flags.benchmarks import benchmarks_from_flags
from tests.command_line import refused, set_flags, start_main
from tests.studies import DIGITS, make_recipe

NUMBERS = [flag for flag in flags.FLAGS if flag.kind in (int, float, tuple[float, ...])]
BESIDE = {"seeds": ["--schemes=vanilla"], "attack_epsilons": ["--schemes=vanilla,advprop"]}
RUN = Path(__file__).parent / "data/run_of_version_1"
LONG, DEEP = "7" * 5000, "[" * 100_000 + "]" * 100_000
# What stands in no file of ours, whatever the file.
DAMAGE = {
    "empty": b"\n",
    "not UTF-8": b"\xff\xfe\n",
    "null": b"null\n",
    "a list": b"[1]\n",
    "nested": DEEP.encode() + b"\n",
    "long": f'{{"step": {LONG}}}\n'.encode(),
    "wrong types": b'{"step": "4", "kind": 3, "version": 2, "runs": [], "model": null}\n',
    "half a character": b'{"step": 4, "kind": "\\udcff"}\n',
}


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_flags(*arguments: str) -> None:
    """What every mode does with its flags before it opens anything else."""
    values = set_flags(*arguments)
    flags.refuse_contradictions(values)
    if values.benchmarks:
        benchmarks_from_flags(values)
    elif values.mode == "study":
        flags.study_from_flags(values, DIGITS)
    elif values.mode == "plan":
        flags.plan_from_flags(values)
    else:
        flags.settings_from_flags(values, DIGITS)


@pytest.mark.parametrize("flag", NUMBERS, ids=lambda flag: flag.name)
def test_a_number_that_no_run_can_have_is_refused(flag, capsys):
    mode = "train_and_eval" if "train_and_eval" in flag.modes else flag.modes[0]
    beside = ["--benchmarks=pgd"] if flag.needs_benchmarks else BESIDE.get(flag.name, [])
    for value in ("nan", "inf", "1e308", "-1e308", "1" + 400 * "0", LONG):
        with pytest.raises((RecipeError, SystemExit)) as stopped:
            read_flags(f"--mode={mode}", *beside, f"--{flag.name}={value}")
        if stopped.type is SystemExit:  # not a number of the flag's type
            assert stopped.value.code == 2
            line = capsys.readouterr().err.removesuffix("\n")
            assert f"--{flag.name}" in line
        else:
            line = str(stopped.value)
            assert len(line) < 300
        assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode=check_data", "--width_coefficient=nan"), "width_coefficient nan is not a finite number"),
        (("--mode=check_data", "--seed=-1"), "seed -1 is outside [0, 2147483647]"),
        (("--cutmix_alpha=nan",), "cutmix_alpha nan is not a finite number"),
        (("--augment_name=randaugment", f"--randaug_magnitude={10**30}"), "randaug_magnitude 10000000000000000000000"),
        (("--mode=study", "--schemes=vanilla", "--seeds=1000000000"), "study seeds 1000000000 is outside [1, 1000]"),
        (("--depth_coefficient=1e308",), "depth_coefficient 1e+308 is outside (0, 20]"),
        (("--input_image_size=2147483648",), "input_image_size 2147483648 is outside [8, 4096]"),
        (("--model_dir=\udcff",), r"'--model_dir=\udcff' is not UTF-8: rename the file or folder"),
        (("--flagfile=/nonexistent/flags",), "/nonexistent/flags"),
        (("--deterministic",), "--deterministic would have no effect: it is for TFRecords, and digits has none"),
        (("--bad_images=skip",), "--bad_images=skip would have no effect: the images of digits are not read from"),
        (("--mode=eval", f"--model_dir={RUN}", "--bad_images=skip"), "--bad_images=skip would have no effect"),
        (("--tpu=",), "--tpu= is empty"),
        (("--tpu_zone=", "--tpu=local"), "--tpu_zone= is empty"),
        (("--tpu_zone=a",), "no TPU is named"),
        (("--gcp_project=a", "--strategy=one_device"), "uses no TPU, but a asks for one"),
    ],
)
def test_what_cannot_be_run_or_has_no_effect_is_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in refused(*arguments, capsys=capsys)
    assert files_of(tmp_path) == {}


def test_the_number_of_steps_of_a_run_has_a_bound():
    imagenet = named_recipe("efficientnet-b0", "imagenet", "vanilla")
    with pytest.raises(RecipeError, match=r"^the number of steps \d{10} is outside \[1, 2147483647\]"):
        override(imagenet, {"train_epochs": 1e6, "train_batch_size": 256}).validate()


def test_a_path_that_is_not_utf8_is_refused_by_a_real_process(tmp_path):
    process = start_main("--mode=predict", b"--images=" + bytes(tmp_path) + b"/\xff*.jpg")
    _, err = process.communicate()
    assert (process.returncode, err.count("error: "), "Traceback" in err) == (2, 1, False)


def test_a_number_without_bounds_cannot_be_defined():
    for hint in (int, float | None, tuple[float, ...]):
        with pytest.raises(TypeError, match=r"Spec\.rate is a number without bounds"):
            type("Spec", (Bounded,), {"__annotations__": {"rate": hint}})


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[0, 1)", (0, 0.5), (-1e-9, 1, 10**400, float("nan"))),
        ("(0, 1]", (1e-300, 1), (0.0, 2, float("inf"))),
        ("0 or [1, 2]", (0, 0.0, 1, 2.0, None, (0, 1)), (0.5, -1, (0, 3))),
    ],
)
def test_bounds_are_read_as_in_mathematics(text, inside, outside):
    spec = dataclasses.make_dataclass("Spec", [("rate", Annotated[float, Bounds(text)])], bases=(Bounded,))
    for value in inside:
        assert spec(value).rate == value
    for value in outside:
        with pytest.raises(RecipeError, match=r"^rate .* is (outside|not a finite)"):
            spec(value)


def test_names_of_a_schema_are_exact_or_start_alike():
    schema = JsonObject({"step": Annotated[int, Bounds("[0, 9]")]}, {"top": float, "": int | str})
    values = {"step": 3, "top1": 1, "steps": "x"}
    assert from_values(schema, values) == {"step": 3, "top1": 1.0, "steps": "x"}
    for wrong, message in (({}, "step is missing"), ({"step": 10}, "step 10 is"), ({"step": 1, "top5": ""}, "top5 is")):
        with pytest.raises(RecipeError, match=message):
            from_values(schema, wrong)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("recipe.json", run_folder.recorded_recipe),
        ("summary.json", run_folder.read_summary),
        ("metrics.jsonl", lambda folder: recorded_results(folder, 4)),
        ("results.json", ResultsFile),
        ("export.json", ExportedWeights),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(name, read, damage, tmp_path):
    (tmp_path / name).write_bytes(DAMAGE[damage])
    with pytest.raises(RecipeError) as refused:
        read(str(tmp_path))
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / name} cannot be read: ")
    assert "; " in message
    assert len(message.splitlines()) == 1
    assert (tmp_path / name).read_bytes() == DAMAGE[damage]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_of_checkpoints_names_none(damage, tmp_path):
    (tmp_path / "checkpoint").write_bytes(DAMAGE[damage])
    assert checkpoint_names.recorded(str(tmp_path)) is None


def test_a_damaged_observation_is_named_with_what_to_do(tmp_path):
    (trial,) = plan(StudySpec(("efficientnet-b0",), ("vanilla",), 1), make_recipe)
    write_observation(str(tmp_path), trial, {"images": np.zeros((1, 2, 2, 3), np.uint8)})
    (path,) = (tmp_path / "observations").iterdir()
    whole = path.read_bytes()
    assert len(read_observations(str(tmp_path), [trial])) == 1
    for content in (b"", b"null", whole[:100], whole[:60] + b"\0\0\0\0" + whole[64:], whole[9:]):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=r"\.npz cannot be read: not a file of NumPy arrays: .*; remove it"):
            read_observations(str(tmp_path), [trial])


@pytest.mark.parametrize("damage", ["cut variables", "no variables", "cut graph", "an unknown operation"])
def test_a_damaged_saved_model_is_refused(damage, tmp_path):
    module = tf.Module()
    module.weight = tf.Variable(tf.ones([100, 100]))
    serve = tf.function(lambda images: {"logits": tf.nn.softsign(images) @ module.weight})
    signature = serve.get_concrete_function(tf.TensorSpec([None, 100], name="images"))
    tf.saved_model.save(module, str(tmp_path), signatures=signature)
    data, graph = tmp_path / "variables/variables.data-00000-of-00001", tmp_path / "saved_model.pb"
    if damage == "cut variables":
        data.write_bytes(data.read_bytes()[:100])
    elif damage == "no variables":
        shutil.rmtree(tmp_path / "variables")
    elif damage == "cut graph":
        graph.write_bytes(graph.read_bytes()[:-100])
    else:
        graph.write_bytes(graph.read_bytes().replace(b"Softsign", b"Softsigh"))
    recipe = make_recipe("efficientnet-b0", "vanilla", {})
    description = Description(
        *(recipe.network.name, None, None, "advprop", 32, "none", "bicubic", "main", "raw", 3),
        *({}, 1, None, ("a", "b")),
    )
    (tmp_path / "export.json").write_text(description.to_json())
    with pytest.raises(RecipeError, match=f"cannot load {tmp_path}: .*; export the network again"):
        ExportedWeights(str(tmp_path)).read(lambda: None)


@pytest.mark.parametrize("trials", [faults.flag_trials, faults.file_trials])
def test_a_sample_of_the_campaigns_has_no_traceback(trials, tmp_path):
    work = tmp_path / "base"
    shutil.copytree(RUN, work / "run")
    outcomes = [faults.run_here(trial) for trial in trials(0, work, range(10))]
    assert [end for end in outcomes if end[0] not in (faults.REFUSED, faults.RAN, faults.FAILED)] == []
