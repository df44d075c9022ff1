"""Records of older versions: a run and digests of version 1, and fields that are added or renamed later.

`data/run_of_version_1` is a run of version 1: AdvProp on 16-px digits, a network of two blocks, stopped after step 4 of
6. `whole_run.jsonl` has the metrics of the same run without the stop.
"""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Annotated

import pytest

import flags
from efficientnet_advprop.evaluation import digest_over_seeds
from efficientnet_advprop.models.weights import open_weights
from efficientnet_advprop.modes.recorded import with_generator_of_study
from efficientnet_advprop.recipes import (
    FRACTION,
    OptimizerSpec,
    Recipe,
    RecipeError,
    WeightsRecord,
    added,
    compared_values,
    differences,
    digest,
    from_json,
    named_recipe,
    override,
    stored,
    to_json,
)
from efficientnet_advprop.recipes.stored import parse, to_record, version_of
from efficientnet_advprop.training import run_folder
from efficientnet_advprop.training.checkpoints import find
from tests.command_line import ROOT, run_main, set_flags
from tests.studies import DIGITS
from tests.test_training import run_training

DATA = Path(__file__).parent / "data"
RUN = DATA / "run_of_version_1"
COMMAND = (
    "--mode=train",
    "--advprop",
    "--width_coefficient=0.05",
    "--depth_coefficient=0.2",
    "--input_image_size=16",
    "--train_steps=6",
    "--train_batch_size=8",
    "--lr_warmup_epochs=0",
    "--base_learning_rate=0.5",
    "--iterations_per_loop=1",
    "--keep_checkpoint_max=1",
)
NEXT = version_of(Recipe) + 1
OLD_GENERATOR = {"generator": "philox"}  # of every run before there was another


@dataclasses.dataclass(frozen=True)
class SomeSpec:
    """A group of fields that a later version might have."""

    kind: str = "none"
    rate: float = 0.5


# The recipe of a later version: a new field in a group, a new field at the top, and a new group.
LaterOptimizer = dataclasses.make_dataclass(
    "OptimizerSpec", [("nesterov", bool, added(NEXT, False))], bases=(OptimizerSpec,), frozen=True
)
LaterRecipe = dataclasses.make_dataclass(
    "Recipe",
    [
        ("optimizer", LaterOptimizer),
        ("clip_norm", Annotated[float | None, FRACTION], added(NEXT, None)),
        ("some", SomeSpec, added(NEXT, SomeSpec())),
    ],
    bases=(Recipe,),
    frozen=True,
)

LaterWeightsRecord = dataclasses.make_dataclass(
    "WeightsRecord", [("recipe", LaterRecipe)], bases=(WeightsRecord,), frozen=True
)


def later(recipe: Recipe) -> Recipe:
    """A recipe as a later version reads its record."""
    return parse(LaterRecipe, to_json(recipe))


@pytest.fixture
def run(tmp_path) -> Path:
    """A copy of the run, which a test can continue."""
    return shutil.copytree(RUN, tmp_path / "run")


def losses(lines: list[dict], first_step: int) -> dict[int, dict[str, float]]:
    return {
        line["step"]: {name: value for name, value in line.items() if name.startswith("loss/")}
        for line in lines
        if line["kind"] == "train" and line["step"] >= first_step
    }


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_close(ours: dict[int, dict[str, float]], theirs: dict[int, dict[str, float]]) -> None:
    assert ours.keys() == theirs.keys() == {5, 6}
    for step, values in theirs.items():
        assert ours[step] == pytest.approx(values, rel=1e-4)


def test_a_record_of_version_1_has_no_version_and_is_read():
    assert "version" not in json.loads((RUN / "recipe.json").read_text())
    recipe = run_folder.recorded_recipe(str(RUN))
    assert differences(recipe, flags.settings_from_flags(set_flags(*COMMAND)).recipe) == [
        "generator: philox -> threefry"  # a new run's; the test of resuming shows that this one goes on with its own
    ]
    assert (recipe.attack.start_std_px, recipe.provenance.hardware) == (0.0, "2 CPU cores")
    assert from_json(to_json(recipe)) == recipe


@pytest.mark.parametrize("which", ["last", "best"])
def test_checkpoints_of_version_1_are_read_with_their_record(which):
    weights = open_weights(find(str(RUN), which))
    assert weights.facts.recipe == run_folder.recorded_recipe(str(RUN))
    assert (weights.step, weights.class_names) == ({"last": 4, "best": 2}[which], tuple("0123456789"))


@pytest.mark.usefixtures("two_blocks")
def test_a_run_of_version_1_resumes_with_its_command(run, capsys):
    run_main(*COMMAND, f"--model_dir={run}")
    assert "resuming at step 4 of 6" in capsys.readouterr().out
    assert_close(losses(read_lines(run / "metrics.jsonl"), 5), losses(read_lines(RUN / "whole_run.jsonl"), 5))
    assert json.loads((run / "recipe.json").read_text())["version"] == version_of(Recipe)


def test_a_generator_that_is_asked_for_is_not_replaced_by_the_recorded_one(run, capsys):
    with pytest.raises(SystemExit):
        run_main(*COMMAND, "--generator=threefry", f"--model_dir={run}")
    assert "generator: philox -> threefry" in capsys.readouterr().err


@pytest.mark.usefixtures("two_blocks")
def test_a_run_of_version_1_resumes_after_fields_were_added(run):
    recipe = parse(LaterRecipe, (run / "recipe.json").read_text())
    assert (recipe.optimizer.nesterov, recipe.clip_norm, recipe.some) == (False, None, SomeSpec())
    _, recorder = run_training(recipe, run)
    ours = [{"kind": "train", "step": step, **values} for step, values in recorder.trained]
    assert_close(losses(ours, 5), losses(read_lines(RUN / "whole_run.jsonl"), 5))


@pytest.mark.parametrize("read", [lambda recipe: recipe, later], ids=["today", "later"])
def test_digests_of_version_1_do_not_change(read):
    cases = json.loads((DATA / "digests_of_version_1.json").read_text())
    assert len(cases) > 100
    for case in cases:
        changes = {path: tuple(value) if type(value) is list else value for path, value in case["changes"].items()}
        recipe = override(named_recipe(case["model"], case["dataset"], case["scheme"]), {**changes, **OLD_GENERATOR})
        assert digest(read(recipe)) == case["digest"], case


def test_the_digests_of_the_published_study_match_its_command():
    """The command of docs/studies/README.md; a study identifies its finished runs by their digests."""
    schemes = "vanilla,adversarial,adversarial_then_clean,joint,advprop,fine_grained,fast_advprop"
    half = ("--width_coefficient=0.5", "--depth_coefficient=0.5")
    values = set_flags("--mode=study", "--dataset=digits", f"--schemes={schemes}", "--seeds=5", *half)
    trials = flags.study_from_flags(values, DIGITS).trials
    published = re.findall(r'"recipe": "(\w{16})"', (ROOT / "docs/studies/digits/results.json").read_text())
    assert (len(published), len(set(published))) == (40, 8)  # five seeds of each row
    begun = with_generator_of_study(trials, str(ROOT / "docs/studies/digits"))
    assert {digest_over_seeds(trial.recipe) for trial in begun} == set(published)


def test_digests_include_added_fields_unless_they_are_neutral():
    recipe = later(named_recipe("efficientnet-b0", "digits", "advprop"))
    plain = compared_values(recipe)
    assert not {"optimizer.nesterov", "clip_norm", "some.kind", "attack.start_std_px"} & set(plain)
    for path, value, more in (
        ("optimizer.nesterov", True, {"optimizer.nesterov"}),
        ("clip_norm", 0.0, {"clip_norm"}),  # not None
        ("some.kind", "x", {"some.kind", "some.rate"}),
        ("attack.start_std_px", 0.5, {"attack.start_std_px"}),
    ):
        changed = override(recipe, {path: value})
        assert set(compared_values(changed)) - set(plain) == more
        assert digest(changed) != digest(recipe)
        assert [line.partition(":")[0] for line in differences(recipe, changed)] == [path]


def test_a_newer_record_is_refused_by_its_field():
    recipe = override(later(named_recipe("efficientnet-b0", "digits", "advprop")), {"optimizer.nesterov": True})
    record = to_record(recipe)
    assert parse(LaterRecipe, json.dumps(record)) == recipe
    message = (
        "{}: written by a newer version of the program "
        rf"\(record version {NEXT}, this one reads up to {NEXT - 1}\)"
    )
    with pytest.raises(RecipeError, match=message.format("clip_norm")):
        from_json(json.dumps(record))
    with pytest.raises(RecipeError, match=message.format(r"recipe\.clip_norm")):
        WeightsRecord.from_json(LaterWeightsRecord(recipe, ("a", "b")).to_json())
    del record["clip_norm"], record["some"]
    with pytest.raises(RecipeError, match=message.format(r"optimizer\.nesterov")):
        from_json(json.dumps(record))


def test_the_version_is_that_of_the_newest_field_at_any_depth():
    assert version_of(SomeSpec) == version_of(OptimizerSpec) == 1
    assert version_of(Recipe) == version_of(WeightsRecord) == NEXT - 1 > 1
    assert version_of(LaterRecipe) == version_of(LaterOptimizer) == NEXT


def test_files_and_digests_keep_old_names(monkeypatch):
    recipe = named_recipe("efficientnet-b0", "digits", "advprop")
    values = json.loads(to_json(recipe))
    assert values["receipt"]["hardware"] == "2 CPU cores"
    assert "provenance" not in values
    text = to_json(recipe).replace('"epsilon_px"', '"radius_px"')
    with pytest.raises(RecipeError, match=r"attack\.radius_px: no field of a Recipe"):
        from_json(text)
    monkeypatch.setitem(stored.RENAMED, "AttackSpec.radius_px", "epsilon_px")
    assert to_json(recipe) == text
    assert from_json(text) == recipe
    assert compared_values(recipe)["attack.radius_px"] == 1.0
    assert "attack.epsilon_px" not in compared_values(recipe)
    assert differences(recipe, override(recipe, {"attack.epsilon_px": 2.0})) == ["attack.epsilon_px: 1.0 -> 2.0"]


def test_the_record_of_weights_survives_json():
    record = WeightsRecord(named_recipe("resnet-50", "imagenet", "fine_grained"), ("cat", "dog"))
    assert WeightsRecord.from_json(record.to_json()) == record
    for damaged in ("{", "[]", '{"class_names": []}', '{"recipe": {}, "class_names": ["a"]}'):
        with pytest.raises(RecipeError):
            WeightsRecord.from_json(damaged)
