"""Recipes: published constants, schemes as data, JSON and differences, refusals."""

import dataclasses
import json

import pytest

from efficientnet_advprop import recipes
from efficientnet_advprop.recipes import (
    SCHEMES,
    AttackSpec,
    RecipeError,
    Term,
    TermWeights,
    differences,
    from_json,
    named_recipe,
    override,
    scheme_phases,
    to_json,
)
from efficientnet_advprop.recipes.data_spec import DATASETS

ALL = [(model, dataset, scheme) for model in recipes.NETWORKS for dataset in DATASETS for scheme in SCHEMES]


@pytest.mark.parametrize(("model", "dataset", "scheme"), ALL)
def test_every_named_recipe_is_valid_and_survives_json(model, dataset, scheme):
    recipe = named_recipe(model, dataset, scheme)
    recipe.validate()
    assert from_json(to_json(recipe)) == recipe
    measured = dataset == "digits" and scheme == "advprop" and model in ("efficientnet-b0", "efficientnet-b7")
    assert recipe.receipt.measured == measured
    assert f"--model={model}" in recipe.receipt.command


def test_imagenet_recipe_is_the_official_trainers():
    recipe = named_recipe("efficientnet-b7", "imagenet", "advprop")
    assert recipe.total_steps == 218_949  # the official default of train_steps, 350 epochs at 2048
    assert recipe.cadence.steps_per_eval == 6255
    assert recipe.optimizer.base_learning_rate * recipe.train_batch_size / 256 == pytest.approx(0.128)
    assert recipe.network.survival_prob == 0.8
    assert recipe.receipt.expected.startswith("top-1 85.2 %")


@pytest.mark.parametrize(
    ("model", "epsilon_px", "num_steps"),
    [("b0", 1, 1), ("b1", 1, 1), ("b2", 1, 1), ("b3", 3, 4), ("b4", 4, 5), ("b7", 4, 5), ("b8", 4, 5)],
)
def test_attack_strength_follows_the_paper(model, epsilon_px, num_steps):
    attack = named_recipe(f"efficientnet-{model}", "imagenet", "advprop").attack
    assert (attack.epsilon_px, attack.num_steps, attack.step_size_px) == (epsilon_px, num_steps, 1)
    assert (attack.method, attack.random_start, attack.target) == ("pgd", True, "untargeted")


def test_schemes_are_the_papers():
    attack, weights = AttackSpec(), TermWeights(0.5, 2.0)
    (vanilla,) = scheme_phases("vanilla", attack, weights)
    assert vanilla.terms == (Term("clean", "images", "main", 0.5),)
    (advprop,) = scheme_phases("advprop", attack, weights)
    assert advprop.terms == (
        Term("clean", "images", "main", 0.5),
        Term("adversarial", "images", "auxiliary", 2.0, attack),
    )
    assert named_recipe("efficientnet-b0", "digits", "vanilla").branches == ("main",)
    assert named_recipe("efficientnet-b0", "digits", "advprop").branches == ("main", "auxiliary")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("efficientnet-b9", "digits", "advprop"), "unknown model 'efficientnet-b9'; known: efficientnet-b0, "),
        (("efficientnet-b0", "digits", "mixup"), "unknown scheme 'mixup'; known: vanilla, advprop"),
    ],
)
def test_unknown_names_are_listed_with_the_known(names, message):
    with pytest.raises(RecipeError, match=message):
        named_recipe(*names)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train_batch_size", 0, "train_batch_size 0"),
        ("train_steps", 0, "train_steps 0"),
        ("train_epochs", 0.0, "train_epochs 0"),
        ("label_smoothing", 1.0, "label_smoothing 1"),
        ("micro_batches", 0, "micro_batches 0"),
        ("seed", -1, "seed -1"),
        ("attack.epsilon_px", -1.0, "epsilon -1 px"),
        ("term_weights.adversarial", -1.0, "adversarial weight -1"),
        ("network.input_image_size", 4, "input_image_size 4 px"),
        ("network.width_coefficient", 0.0, "width_coefficient 0"),
        ("network.stem_strides", 3, "stem_strides 3"),
        ("data.holdout_shards", -1, "holdout_shards -1"),
        ("network.dropout_rate", 1.0, "dropout_rate 1"),
        ("network.survival_prob", 0.0, "survival_prob 0"),
        ("network.batch_norm_momentum", 1.0, "batch_norm_momentum 1"),
        ("network.preprocessing", "caffe", "known: advprop, imagenet"),
        ("data.num_label_classes", 1, "num_label_classes 1"),
        ("data.num_eval_images", 0, "num_eval_images 0"),
        ("data.eval_crop", "0.9", "known: pad32, 0.875, none"),
        ("optimizer.optimizer", "lamb", "known: rmsprop"),
        ("optimizer.base_learning_rate", 0.0, "base_learning_rate 0"),
        ("optimizer.moving_average_decay", 1.0, "moving_average_decay 1"),
        ("cadence.iterations_per_loop", 0, "iterations_per_loop 0"),
    ],
)
def test_impossible_values_are_named(path, value, message):
    recipe = override(named_recipe("efficientnet-b0", "digits", "advprop"), {path: value})
    with pytest.raises(RecipeError, match=message):
        recipe.validate()


def test_weights_that_learn_nothing_are_refused():
    recipe = override(named_recipe("efficientnet-b0", "digits", "vanilla"), {"term_weights.clean": 0.0})
    with pytest.raises(RecipeError, match="nothing would be learned"):
        recipe.validate()


def test_micro_batches_and_synchronised_statistics_are_refused():
    recipe = named_recipe("efficientnet-b0", "digits", "advprop")
    recipe = override(recipe, {"micro_batches": 2, "network.sync_batch_norm": True})
    with pytest.raises(RecipeError, match="exclude each other"):
        recipe.validate()


def test_differences_name_old_and_new_value_and_leave_cadence_out():
    old = named_recipe("efficientnet-b0", "digits", "advprop")
    new = override(old, {"attack.num_steps": 3, "seed": 7, "cadence.eval_batch_size": 1})
    assert differences(old, new) == ["attack.num_steps: 1 -> 3", "seed: 0 -> 7"]


def test_a_longer_run_continues_only_under_a_constant_rate():
    cosine = named_recipe("efficientnet-b0", "digits", "advprop")
    assert differences(cosine, override(cosine, {"train_epochs": 15.0})) == ["train_epochs: 8.0 -> 15.0"]
    constant = override(cosine, {"optimizer.lr_schedule": "constant"})
    assert differences(constant, override(constant, {"train_epochs": 15.0})) == []
    assert differences(constant, override(constant, {"train_epochs": 3.0})) == ["train_epochs: 8.0 -> 3.0"]


def test_override_knows_only_the_recipes_paths():
    with pytest.raises(KeyError, match=r"optimizer\.nesterov"):
        override(named_recipe("efficientnet-b0", "digits", "advprop"), {"optimizer.nesterov": True})


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values.pop("seed"),
        lambda values: values["optimizer"].update(nesterov=True),
        lambda values: values["optimizer"].update(momentum="much"),
        lambda values: values.update(seed=None),
    ],
)
def test_a_record_of_another_version_is_refused(damage):
    values = json.loads(to_json(named_recipe("efficientnet-b0", "digits", "advprop")))
    damage(values)
    with pytest.raises(RecipeError, match="not a recipe of this version"):
        from_json(json.dumps(values))
    with pytest.raises(RecipeError, match="not a recipe of this version"):
        from_json("{")


def test_recipes_are_values():
    recipe = named_recipe("efficientnet-b0", "digits", "advprop")
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 1
