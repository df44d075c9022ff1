"""Studies: plan, what is kept of runs, what is measured of them; a study end to end, stopped and continued."""

import dataclasses
import json
import math

import numpy as np
import pytest
import tensorflow as tf

import flags
import tpu_utils
from efficientnet_advprop.data import eval_dataset, evaluation_images, open_source
from efficientnet_advprop.evaluation import (
    IMAGES,
    CorruptedAccuracy,
    Results,
    corrupted,
    corrupted_dataset,
    has_to_be_observed,
    kept_in_memory,
    kinds_not_observed,
    loss_gradients,
    read_observations,
    run_all,
    running_statistics,
    write_observation,
)
from efficientnet_advprop.evaluation.corruptions import STUDY_CORRUPTIONS, corrupt
from efficientnet_advprop.modes import session, study, training_run
from efficientnet_advprop.recipes import (
    EVALUATION_ATTACK,
    DataFacts,
    RecipeError,
    StudySpec,
    named_recipe,
    override,
    plan,
)
from efficientnet_advprop.recipes.study_spec import attack_of_strength, lengthened
from tests.command_line import run_main, set_flags
from tests.small import one_cpu, small_model, small_recipe
from tests.studies import finished, make_recipe

KEY = "efficientnet-b0-vanilla-seed-0"
DIGITS = DataFacts("digits", 10, 1437, 360)
TINY = (
    "--mode=study",
    "--dataset=digits",
    "--schemes=vanilla,advprop",
    "--width_coefficient=0.25",
    "--depth_coefficient=0.2",
    "--input_image_size=16",
    "--train_steps=2",
    "--train_batch_size=8",
)


def longer_recipe(model, scheme, changes):
    return make_recipe(model, scheme, {**changes, "train_epochs": 9.0})


def test_all_rows_come_with_the_first_seed_first():
    spec = StudySpec(("efficientnet-b0",), ("vanilla", "adversarial", "fast_advprop", "advprop"), 2, (1.0, 4.0))
    cells = plan(spec, make_recipe)
    rows = [
        "vanilla",
        "adversarial, epsilon 1",
        "adversarial, epsilon 4",
        "fast_advprop",  # one step by definition
        "advprop, epsilon 1",
        "advprop, epsilon 4",
        "vanilla, 3 passes",  # PGD1 and two training passes
        "vanilla, 7 passes",  # PGD5 and two
    ]
    assert [(cell.row, cell.recipe.seed) for cell in cells] == [(row, seed) for seed in (0, 1) for row in rows]
    assert [cell.recipe.attack.num_steps for cell in cells[4:6]] == [1, 5]
    assert [cell.has_equal_budget for cell in cells[:8]] == [False] * 6 + [True] * 2
    assert [cell.recipe.scheme for cell in cells[6:8]] == ["vanilla"] * 2
    assert [cell.recipe.train_epochs for cell in cells[6:8]] == [8 * 3, 8 * 7]
    assert cells[6].key == "efficientnet-b0-vanilla-3-passes-seed-0"
    assert len({cell.key for cell in cells}) == len(cells)


def test_strengths_are_the_papers_and_a_length_grows_whichever_way_it_is_given():
    assert [attack_of_strength(epsilon)["attack.num_steps"] for epsilon in (0.5, 1, 2, 3, 4, 6)] == [1, 1, 3, 4, 5, 7]
    recipe = named_recipe("efficientnet-b0", "digits", "vanilla")
    assert lengthened(recipe, 3).total_steps == pytest.approx(3 * recipe.total_steps, abs=3)
    assert lengthened(override(recipe, {"train_steps": 5}), 3).total_steps == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schemes=advprop"], "schemes advprop: vanilla is needed to compare with"),
        (["--schemes=vanilla,magic"], "unknown scheme 'magic'"),
        (["--schemes=vanilla,vanilla"], "schemes vanilla, vanilla repeats a value"),
        (["--schemes=vanilla", "--models=b9"], "b9"),
        (["--schemes=vanilla", "--models="], "models names none"),
        (["--schemes=vanilla", "--seeds=0"], "seeds 0: at least 1"),
        (["--schemes=vanilla,advprop", "--attack_epsilons=0,1"], "attack epsilon 0 px"),
        ([], "--mode=study needs --schemes"),
        (["--schemes=vanilla", "--model=resnet-50"], "--model is about one run: --mode=study has --models"),
        (["--schemes=vanilla", "--advprop"], "--advprop is about one run: --mode=study has --schemes"),
        (["--schemes=vanilla", "--seed=3"], "--seed is about one run: --mode=study has --seeds"),
        (["--schemes=vanilla", "--init_checkpoint=x"], "--init_checkpoint is read by"),
        (["--schemes=vanilla", "--steps_per_eval=3"], "--steps_per_eval is read by"),
        (["--schemes=vanilla", "--attack_steps=3"], "--attack_steps would have no effect: scheme vanilla makes no"),
        (["--schemes=vanilla", "--attack_epsilons=1,2"], "--attack_epsilons would have no effect"),
        (["--schemes=vanilla,advprop", "--attack_epsilons=1", "--attack_steps=3"], "--attack_steps contradicts it"),
        (["--schemes=vanilla,advprop", "--attack_epsilons=1,4", "--attack=none"], "--attack_epsilons would have no"),
        (
            ["--schemes=vanilla,advprop", "--attack_epsilons=1,2", "--attack=gd", "--attack_random_start=false"],
            "--attack_epsilons would have no effect: attack gd without a uniform random",
        ),
        (["--schemes=vanilla,fast_advprop", "--train_batch_size=2"], "fast_adversarial_share 0.2 makes 0 of"),
        (["--schemes=vanilla", "--train_epochs=nan"], "train_epochs nan"),
    ],
)
def test_what_no_run_can_use_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as left:
        run_main("--mode=study", "--dataset=digits", *arguments)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--schemes=vanilla"], ["--seeds=2"], ["--models=resnet-50"], ["--attack_epsilons=1"]]
)
def test_flags_of_a_study_are_for_no_other_mode(arguments):
    with pytest.raises(RecipeError, match="is read by --mode=study, not by train"):
        flags.refuse_contradictions(set_flags("--mode=train", *arguments))


def test_flags_hold_for_every_run_that_reads_them():
    arguments = ("--mode=study", "--schemes=vanilla,advprop", "--seeds=1", "--attack_steps=3", "--train_epochs=2.5")
    settings = flags.study_from_flags(set_flags(*arguments), DIGITS)
    vanilla, advprop, budget = (cell.recipe for cell in settings.cells)
    assert (vanilla.train_epochs, advprop.train_epochs, budget.train_epochs) == (2.5, 2.5, 12.5)
    assert advprop.attack.num_steps == 3
    assert settings.options.model_dir == "runs/study-digits"
    assert set(settings.options.command.split()) == {"python", "main.py", *arguments}
    assert set_flags(*settings.options.command.split()[2:]).schemes == ["vanilla", "advprop"]


def test_results_are_kept_by_recipe_and_precision(tmp_path):
    spec = StudySpec(("efficientnet-b0",), ("vanilla", "advprop"), 1)
    cells = plan(spec, make_recipe)
    results = Results(str(tmp_path))
    assert results.missing(cells) == cells
    results.add(cells[1], finished(cells[1], seconds=12.0))
    again = Results(str(tmp_path))
    assert again.missing(cells) == [cells[0], cells[2]]
    (kept,) = again.of(cells)
    assert kept == finished(cells[1], seconds=12.0)
    other = plan(spec, lambda model, scheme, changes: make_recipe(model, scheme, {**changes, "label_smoothing": 0.0}))
    with pytest.raises(RecipeError, match="holds efficientnet-b0-advprop-seed-0 with another recipe"):
        again.missing(other)
    with pytest.raises(RecipeError, match="holds efficientnet-b0-advprop-seed-0 in float32, not mixed_bfloat16"):
        again.require_precision(cells, "mixed_bfloat16")
    again.require_precision(cells, "float32")
    with pytest.raises(ValueError, match="JSON compliant"):
        again.add(cells[0], finished(cells[0], values={"loss_main": math.nan}))
    assert Results(str(tmp_path)).of(cells) == [kept]
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(RecipeError, match=r"results\.json is damaged or of another version"):
        Results(str(tmp_path))


def test_two_processes_lose_no_result_of_each_other(tmp_path):
    cells = plan(StudySpec(("efficientnet-b0",), ("vanilla", "advprop"), 1), make_recipe)
    one, other = Results(str(tmp_path)), Results(str(tmp_path))
    one.add(cells[0], finished(cells[0]))
    other.add(cells[1], finished(cells[1]))
    assert len(Results(str(tmp_path)).of(cells)) == 2


def test_the_first_run_of_a_kind_is_looked_at_unless_one_was_before(tmp_path):
    cells = plan(StudySpec(("efficientnet-b0",), ("vanilla", "joint", "advprop"), 2), make_recipe)
    folder, arrays = str(tmp_path), {IMAGES: np.zeros((1, 2, 2, 3), np.uint8)}
    vanilla, joint, advprop, budget, *_, advprop_again, _ = cells
    wanted = [has_to_be_observed(folder, cell, cells) for cell in (vanilla, joint, advprop, budget)]
    assert wanted == [True, False, True, False]
    assert kinds_not_observed(folder, cells) == [("efficientnet-b0", "vanilla"), ("efficientnet-b0", "advprop")]
    write_observation(folder, advprop_again, arrays)  # the first one diverged, say
    assert not has_to_be_observed(folder, advprop, cells)
    assert has_to_be_observed(folder, vanilla, cells)
    assert kinds_not_observed(folder, cells) == [("efficientnet-b0", "vanilla")]
    assert {cell: list(found) for cell, found in read_observations(folder, cells).items()} == {advprop_again: [IMAGES]}
    other = plan(StudySpec(("efficientnet-b0",), ("vanilla", "joint", "advprop"), 2), longer_recipe)
    assert read_observations(folder, other) == {}  # kept of another recipe
    assert has_to_be_observed(folder, other[2], other)


def test_evaluation_images_are_evenly_spaced():
    recipe = small_recipe()
    source = open_source(recipe.data, None)
    every, labels = evaluation_images(source, recipe, 1000)
    assert (every.shape, every.dtype, labels.shape) == ((360, 16, 16, 3), np.uint8, (360,))
    few, few_labels = evaluation_images(source, recipe, 7)
    places = [number * 360 // 7 for number in range(7)]
    np.testing.assert_array_equal(few, every[places])
    np.testing.assert_array_equal(few_labels, labels[places])


def test_corrupted_accuracy_counts_each_corruption_of_each_image(monkeypatch):
    severities = (2, 5)
    monkeypatch.setattr(corrupted, "SEVERITIES", severities)

    class SumOfPixels(tf.keras.Model):
        """Says a digit of the sum of all pixels, which every corruption moves."""

        def call(self, images, training, branch):
            assert not training
            assert branch == "main"
            total = tf.reduce_sum(tf.cast(images, tf.int32), axis=(1, 2, 3))
            return tf.one_hot(total // 100 % 10, 10)

    recipe = override(small_recipe(), {"cadence.eval_batch_size": 2})
    source, number = open_source(recipe.data, None), 5

    def batches(name, severity):
        context = tf.distribute.InputContext()
        return corrupted_dataset(eval_dataset(source, recipe, context, num_images=number), context, name, severity)

    values = run_all([CorruptedAccuracy(one_cpu(), SumOfPixels(), batches, number)])
    images, labels = evaluation_images(source, recipe, number)
    means = []
    for name in STUDY_CORRUPTIONS:
        hits = [
            corrupt(image, name, severity, seed).sum(dtype=int) // 100 % 10 == label
            for severity in severities
            for seed, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
        means.append(np.mean(hits))
        assert values[f"top1_{name}"] == pytest.approx(means[-1])
    assert values["top1_corrupted"] == pytest.approx(np.mean(means))
    assert 0 < values["top1_corrupted"] < 1


def test_hosts_and_batches_corrupt_each_image_alike():
    recipe = override(small_recipe(), {"cadence.eval_batch_size": 4})
    source = open_source(recipe.data, None)

    def images(hosts, host):
        context = tf.distribute.InputContext(hosts, host, num_replicas_in_sync=hosts)
        clean = eval_dataset(source, recipe, context, num_images=7)
        batches = corrupted_dataset(clean, context, "gaussian_noise", 3)
        return np.concatenate([batch["images"][batch["mask"] > 0] for batch in batches.as_numpy_iterator()])

    one = images(1, 0)
    np.testing.assert_array_equal(images(2, 0), one[0::2])
    np.testing.assert_array_equal(images(2, 1), one[1::2])
    expected = corrupt(evaluation_images(source, recipe, 7)[0][5], "gaussian_noise", 3, seed=5)
    np.testing.assert_array_equal(one[5], expected)


def test_images_kept_in_memory_are_read_once_and_corrupted_alike():
    recipe = override(small_recipe(), {"cadence.eval_batch_size": 4})
    context, read = tf.distribute.InputContext(), []
    clean = eval_dataset(open_source(recipe.data, None), recipe, context, num_images=7)

    def seen(batch):
        tf.py_function(lambda: read.append(1), [], [])
        return batch

    kept = kept_in_memory(clean.map(seen))
    assert kept.element_spec["images"].dtype == tf.uint8
    for name in ("gaussian_noise", "contrast"):
        both = (corrupted_dataset(batches, context, name, 3) for batches in (clean, kept))
        for expected, batch in zip(*(batches.as_numpy_iterator() for batches in both), strict=True):
            np.testing.assert_array_equal(batch["images"], expected["images"])
    assert len(read) == 2  # batches, in two passes


def test_a_images_gradient_is_its_own_and_statistics_are_each_branchs():
    model = small_model()
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    labels = np.array([1, 2, 3])
    together = loss_gradients(model, images, labels, "auxiliary")
    alone = loss_gradients(model, images[1:2], labels[1:2], "auxiliary")
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-3, atol=1e-7)
    assert np.abs(together - loss_gradients(model, images, labels, "main")).max() > 0
    statistics = running_statistics(model, ("main", "auxiliary"), 3)
    layers = list(dict.fromkeys(name.split("/")[0] for name in statistics))
    assert layers[0] == "stem.norm"
    assert layers[-1] == "head.norm"
    assert len(statistics) == 3 * 2 * 2
    expected = model.weights_by_path()["stem.norm.norms.auxiliary.moving_variance"]
    np.testing.assert_array_equal(statistics["stem.norm/auxiliary/moving_variance"], expected)


def cells_of(folder):
    """The recorded runs, without what differs from one time to the next."""
    cells = json.loads((folder / "results.json").read_text())["cells"]
    return {key: {name: value for name, value in cell.items() if name != "seconds"} for key, cell in cells.items()}


def test_a_stopped_study_goes_on_and_comes_to_the_same(two_blocks, tmp_path, monkeypatch, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    trained = []
    evaluate = study._evaluate

    def stop_in_the_second(cell):
        trained.append((cell.recipe.scheme, cell.recipe.seed))
        if len(trained) == 2:
            raise KeyboardInterrupt
        return evaluate(cell)

    monkeypatch.setattr(study, "_evaluate", stop_in_the_second)
    # Two steps of ten, a few images at one severity of five: nothing here is about their number.
    monkeypatch.setattr(session, "EVALUATION_ATTACK", dataclasses.replace(EVALUATION_ATTACK, num_steps=2))
    monkeypatch.setattr(study, "MOST_CORRUPTED_IMAGES", 24)
    monkeypatch.setattr(corrupted, "SEVERITIES", (3,))
    with pytest.raises(SystemExit) as left:
        run_main(*TINY, "--seeds=1", f"--model_dir={stopped}")
    assert left.value.code == 130
    assert list(cells_of(stopped)) == ["efficientnet-b0-vanilla-seed-0"]
    assert "1 of 3 runs are finished" in (stopped / "report.md").read_text()
    assert not (stopped / "cells/efficientnet-b0-vanilla-seed-0/checkpoints").exists()
    assert (stopped / "cells/efficientnet-b0-advprop-seed-0/checkpoints").exists()
    capsys.readouterr()
    run_main(*TINY, "--seeds=1", f"--model_dir={stopped}")
    assert trained[2:] == [("advprop", 0), ("vanilla", 0)]  # the last is the equal budget's
    output = capsys.readouterr().out
    assert "study: 3 runs, 1 of them finished before" in output
    assert "resuming at step 2 of 2" in output
    assert not list(stopped.glob("cells/*/checkpoints"))

    gradients_before = tpu_utils.registered_gradients()
    run_main(*TINY, "--seeds=2", f"--model_dir={whole}")
    assert tpu_utils.registered_gradients() == gradients_before  # no graph of a finished run stays
    results = cells_of(whole)
    assert len(results) == 6
    assert {key: cell for key, cell in results.items() if cell["seed"] == 0} == cells_of(stopped)
    report = (whole / "report.md").read_text()
    assert "6 of 6 runs are finished" in report
    assert " ± " in report
    for figure in ("accuracy", "branch-gap", "gradients", "running-statistics"):
        path = f"figures/efficientnet-b0-{figure}.png"
        assert f"({path})" in report
        assert tf.io.decode_png((whole / path).read_bytes()).shape[-1] == 4
        # Of the first seed's runs, of which the continued study has trained one alone.
        if figure in ("gradients", "running-statistics"):
            assert (whole / path).read_bytes() == (stopped / path).read_bytes()
    with pytest.raises(SystemExit) as left:
        run_main(*TINY, "--seeds=1", "--label_smoothing=0", f"--model_dir={stopped}")
    assert left.value.code == 2
    assert "vanilla-seed-0 was started with another recipe (label_smoothing: 0.1 -> 0.0)" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        run_main(*TINY, "--seeds=1", "--use_bfloat16", f"--model_dir={stopped}")
    assert left.value.code == 2
    assert "holds efficientnet-b0-vanilla-seed-0 in float32, not mixed_bfloat16" in capsys.readouterr().err


def test_a_run_that_diverges_is_recorded_and_the_next_follows(two_blocks, tmp_path, monkeypatch, capsys):
    def train(state, recipe, *rest):
        if recipe.scheme == "advprop":
            raise FloatingPointError("not finite in steps 1 to 2: loss/adversarial")

    def evaluate(run):
        loss = math.nan if run.recipe.scheme == "joint" else 1.0  # the last update spoilt the weights, say
        return {"top1_main": 0.5, "loss_main": loss, "top1_pgd": 0.25, "bad_images": 2}

    monkeypatch.setattr(training_run, "train", train)
    monkeypatch.setattr(training_run.TrainingRun, "evaluate", evaluate)
    monkeypatch.setattr(study, "run_all", lambda evaluators: {"top1_corrupted": 0.4})
    arguments = (*TINY, "--schemes=vanilla,advprop,joint", "--seeds=1", f"--model_dir={tmp_path}")
    for _ in range(2):  # the second time nothing is trained again
        with pytest.raises(SystemExit) as left:
            run_main(*arguments)
        assert left.value.code == 1
        told = capsys.readouterr()
        assert "2 of 4 runs diverged: efficientnet-b0-advprop-seed-0, efficientnet-b0-joint-seed-0" in told.err
    assert "4 of them finished before" in told.out
    results = cells_of(tmp_path)
    assert {key.split("-")[2]: result["diverged"] for key, result in results.items() if result["diverged"]} == {
        "advprop": "not finite in steps 1 to 2: loss/adversarial",
        "joint": "not finite in the evaluation: loss_main",
    }
    assert results["efficientnet-b0-joint-seed-0"]["values"] == {}
    vanilla = results[KEY]
    assert (vanilla["bad_images"], "bad_images" in vanilla["values"]) == (2, False)
    report = (tmp_path / "report.md").read_text()
    assert "**Diverged**, in no table: efficientnet-b0, advprop, seed 0" in report
    assert "Evaluated on 358 images" in report
    with pytest.raises(SystemExit) as left:
        run_main(
            *[one for one in TINY if not one.startswith(("--mode", "--schemes"))], f"--model_dir={tmp_path}/cells/{KEY}"
        )
    assert left.value.code == 2
    assert "is a run of a study, whose weights were removed" in capsys.readouterr().err
