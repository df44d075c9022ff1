"""The runs of a study: rows and seeds, strengths, flags, the default evaluation."""

import pytest

import flags
from efficientnet_advprop.evaluation import plan_passes
from efficientnet_advprop.recipes import (
    EVALUATION_ATTACK,
    STUDY_BENCHMARKS,
    RecipeError,
    StudySpec,
    named_recipe,
    override,
    plan,
    trials_in_words,
)
from efficientnet_advprop.recipes.study_spec import attack_of_strength, lengthened
from tests.command_line import run_main, set_flags
from tests.studies import DIGITS, LAST, make_recipe


def test_all_rows_of_the_first_seed_come_first():
    spec = StudySpec(("efficientnet-b0",), ("vanilla", "adversarial", "fast_advprop", "advprop"), 2, (1.0, 4.0))
    trials = plan(spec, make_recipe)
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
    assert [(trial.row, trial.recipe.seed) for trial in trials] == [(row, seed) for seed in (0, 1) for row in rows]
    assert [trial.recipe.attack.num_steps for trial in trials[4:6]] == [1, 5]
    assert [trial.has_equal_budget for trial in trials[:8]] == [False] * 6 + [True] * 2
    assert [trial.recipe.scheme for trial in trials[6:8]] == ["vanilla"] * 2
    assert [trial.recipe.train_epochs for trial in trials[6:8]] == [8 * 3, 8 * 7]
    assert trials[6].key == "efficientnet-b0-vanilla-3-passes-seed-0"
    assert len({trial.key for trial in trials}) == len(trials)


def test_strengths_are_the_papers_and_a_length_in_steps_or_epochs_is_multiplied():
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
        (["--schemes=vanilla", "--seeds=0"], "study seeds 0 is outside [1, 1000]"),
        (["--schemes=vanilla,advprop", "--attack_epsilons=0,1"], "study attack_epsilons_px 0 is outside (0, 255]"),
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
        (["--schemes=vanilla", "--benchmarks=pgd"], "the benchmarks of a study have to include clean"),
        (["--schemes=vanilla", "--benchmarks=clean,imagenet_a"], "measured on clean, corruptions, pgd"),
        (["--schemes=vanilla", "--benchmark_dir=imagenet_a=x"], "--benchmark_dir is read by"),
        (["--schemes=vanilla", "--benchmarks=clean", "--pgd_steps=3"], "--pgd_steps would have no effect"),
    ],
)
def test_flags_that_no_run_reads_are_refused_in_one_line(arguments, message, capsys):
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
    vanilla, advprop, budget = (trial.recipe for trial in settings.trials)
    assert (vanilla.train_epochs, advprop.train_epochs, budget.train_epochs) == (2.5, 2.5, 12.5)
    assert advprop.attack.num_steps == 3
    assert settings.options.model_dir == "runs/study-digits"
    assert set(settings.options.command.split()) == {"python", "main.py", *arguments}
    assert set_flags(*settings.options.command.split()[2:]).schemes == ["vanilla", "advprop"]


def test_the_default_evaluation_of_a_study():
    """Its score under attack is a run's `top1_pgd`; six corruptions, only through the main branch."""
    options = flags.study_from_flags(set_flags("--mode=study", "--schemes=vanilla,advprop"), DIGITS).options
    assert options.benchmarks == STUDY_BENCHMARKS
    assert STUDY_BENCHMARKS.attacks() == [EVALUATION_ATTACK]
    recipe = override(named_recipe("efficientnet-b0", "digits", "advprop"), {"data.num_eval_images": 10_000, "seed": 3})
    clean, pgd, *corrupted = plan_passes(recipe, None, LAST, {})
    assert (clean.num_images, clean.branches, clean.settings["images"]) == (None, (), "all")
    settings = pgd.settings
    assert (settings["success"], settings["restarts"], settings["branch"], settings["seed"]) == ("last", 1, "main", 3)
    assert len(corrupted) == 6 * 5
    assert {(one.num_images, one.branches) for one in corrupted} == {(2000, ("main",))}
    assert len({one.kind for one in corrupted}) == 1  # one graph
    chosen = ("--corruptions=contrast", "--pgd_success=any", "--pgd_norm=l2", "--benchmark_images=100")
    spec = flags.study_from_flags(set_flags("--mode=study", "--schemes=vanilla", *chosen), DIGITS).options.benchmarks
    assert (spec.made_corruptions, spec.success, spec.norm, spec.epsilons_px) == (("contrast",), "any", "l2", ())
    assert {one.num_images for one in plan_passes(recipe, None, spec, {})} == {100}


def test_a_study_in_words():
    spec = StudySpec(("efficientnet-b0", "resnet-50"), ("vanilla", "joint", "advprop"), 2, (1.0,))
    words = trials_in_words(plan(spec, make_recipe))
    rows = "vanilla; joint, epsilon 1; advprop, epsilon 1; vanilla with as many passes as advprop, epsilon 1"
    assert words == f"{rows}; 2 networks; 2 seeds"
