"""Recipes: published constants, schemes, JSON, differences, refused values."""

import dataclasses
import json
import math

import pytest

from efficientnet_advprop import recipes
from efficientnet_advprop.recipes import (
    SCHEMES,
    AttackSpec,
    Phase,
    RecipeError,
    Term,
    TermWeights,
    compared_values,
    differences,
    from_json,
    named_recipe,
    num_fast_adversarial,
    override,
    to_json,
)
from efficientnet_advprop.recipes.data_spec import DATASETS

ALL = [(model, dataset, scheme) for model in recipes.NETWORKS for dataset in DATASETS for scheme in SCHEMES]


@pytest.mark.parametrize(("model", "dataset", "scheme"), ALL)
def test_every_named_recipe_is_valid_and_survives_json(model, dataset, scheme):
    recipe = named_recipe(model, dataset, scheme)
    recipe.validate()
    assert from_json(to_json(recipe)) == recipe
    measured = {"digits": ("efficientnet-b0", "efficientnet-b7", "resnet-50"), "cifar10": ("efficientnet-b0",)}
    assert recipe.provenance.measured == (scheme == "advprop" and model in measured.get(dataset, ()))
    assert f"--model={model}" in recipe.provenance.command


def test_imagenet_recipe_is_the_official_trainers():
    recipe = named_recipe("efficientnet-b7", "imagenet", "advprop")
    assert recipe.total_steps == 218_949  # the official default of train_steps, 350 epochs at 2048
    assert recipe.cadence.steps_per_eval == 6255
    assert recipe.optimizer.base_learning_rate * recipe.train_batch_size / 256 == pytest.approx(0.128)
    assert recipe.network.survival_prob == 0.8
    assert (recipe.data.augment_name, recipe.data.augment_pixel_scale) == ("autoaugment", 1.0)
    assert recipe.provenance.expected.startswith("top-1 85.2 %")


@pytest.mark.parametrize(
    ("scheme", "weights"),
    [
        ("vanilla", [1.0]),
        ("adversarial", [1.0]),
        ("adversarial_then_clean", [1.0, 1.0]),
        ("joint", [0.5, 0.5]),
        ("advprop", [0.5, 0.5]),
        ("fine_grained", [1 / 3, 1 / 3, 1 / 3]),
        ("fast_advprop", [1.0, 0.5, 0.5]),  # already a mean over images
        ("trades", [1.0, 6.0]),  # one cross-entropy and a regulariser
    ],
)
def test_imagenet_recipe_of_resnets(scheme, weights):
    recipe = named_recipe("resnet-101", "imagenet", scheme)
    assert recipe.total_steps == 525_478  # 105 epochs at 256
    assert recipe.optimizer.peak_learning_rate(256) == 0.1
    assert (recipe.optimizer.optimizer, recipe.optimizer.decay_batch_norm) == ("momentum", True)
    assert (recipe.label_smoothing, recipe.optimizer.moving_average_decay, recipe.network.dropout_rate) == (0, 0, 0)
    assert (recipe.data.eval_crop, recipe.data.resize, recipe.network.preprocessing) == (
        "0.875",
        "bilinear",
        "imagenet",
    )
    # The learning rate was tuned for the mean over the terms.
    terms = [term for phase in recipe.phases for term in phase.terms]
    assert [term.weight for term in terms] == weights
    published = {"vanilla": "top-1 78.3 %", "advprop": "top-1 78.9 %"}
    assert recipe.provenance.expected == published.get(scheme, "not known")
    if scheme not in ("fast_advprop", "trades"):
        assert f"term weights {terms[0].weight:g}" in recipe.provenance.source


@pytest.mark.parametrize("model", recipes.NETWORKS)
def test_deep_networks_have_a_short_run_on_digits(model):
    deep = {f"efficientnet-{suffix}" for suffix in ("b5", "b6", "b7", "b8", "l2")}
    deep |= {"resnet-101", "resnet-152", "resnet-200"}
    assert (named_recipe(model, "digits", "advprop").train_epochs == 2) == (model in deep)


@pytest.mark.parametrize(
    ("model", "epsilon_px", "num_steps"),
    [
        ("efficientnet-b0", 1, 1),
        ("efficientnet-b1", 1, 1),
        ("efficientnet-b2", 1, 1),
        ("efficientnet-b3", 3, 4),
        ("efficientnet-b4", 4, 5),
        ("efficientnet-b7", 4, 5),
        ("efficientnet-b8", 4, 5),
        ("resnet-50", 4, 5),
        ("resnet-200", 4, 5),
    ],
)
def test_attack_strength_follows_the_paper(model, epsilon_px, num_steps):
    attack = named_recipe(model, "imagenet", "advprop").attack
    assert (attack.epsilon_px, attack.num_steps, attack.step_size_px) == (epsilon_px, num_steps, 1)
    assert (attack.method, attack.random_start, attack.target) == ("pgd", True, "untargeted")


def test_schemes_are_the_papers():
    weights = TermWeights(clean=0.5, adversarial=2.0, augmented=3.0, noise=4.0)
    settings = named_recipe("efficientnet-b0", "digits", "vanilla").scheme_settings()
    settings = dataclasses.replace(settings, attack=AttackSpec(), weights=weights, clean_from_epoch=175.0)
    attack = settings.attack
    clean = Term("clean", "images", "main", 0.5)
    through_main = Term("adversarial", "images", "main", 2.0, attack)
    through_auxiliary = Term("adversarial", "images", "auxiliary", 2.0, attack)
    augmented = Term("augmented", "images_augmented", "augmented", 3.0)
    expected = {
        "vanilla": (Phase(None, (clean,)),),
        "adversarial": (Phase(None, (through_main,)),),
        "adversarial_then_clean": (Phase(175.0, (through_main,)), Phase(None, (clean,))),
        "joint": (Phase(None, (clean, through_main)),),
        "advprop": (Phase(None, (clean, through_auxiliary)),),
        "fine_grained": (Phase(None, (clean, augmented, through_auxiliary)),),
        "fast_advprop": (Phase(None, (clean, Term("noise", "images", "auxiliary", 4.0), through_auxiliary)),),
    }
    expected["trades"] = (Phase(None, (clean, dataclasses.replace(through_main, loss="kl_from_clean"))),)
    assert {scheme: SCHEMES[scheme].phases(settings) for scheme in expected} == expected


def test_a_network_has_the_branches_of_its_scheme():
    expected = {
        **dict.fromkeys(("vanilla", "adversarial", "adversarial_then_clean", "joint", "trades"), ("main",)),
        **dict.fromkeys(("advprop", "fast_advprop"), ("main", "auxiliary")),
        "fine_grained": ("main", "augmented", "auxiliary"),
    }
    assert {scheme: named_recipe("efficientnet-b0", "digits", scheme).branches for scheme in expected} == expected


@pytest.mark.parametrize("length", [{"train_epochs": 10.0}, {"train_steps": 400}])
def test_the_switch_to_clean_images_is_halfway_unless_given(length):
    recipe = override(named_recipe("efficientnet-b0", "digits", "adversarial_then_clean"), length)
    assert recipe.phases[0].until_epoch * recipe.steps_per_epoch == pytest.approx(recipe.total_steps / 2)
    assert override(recipe, {"clean_from_epoch": 3.0}).phases[0].until_epoch == 3.0


def test_a_longer_run_would_move_the_default_switch():
    """Even with a constant rate, earlier steps would belong to another phase; an explicit switch does not move."""
    recipe = named_recipe("efficientnet-b0", "digits", "adversarial_then_clean")
    recipe = override(recipe, {"optimizer.lr_schedule": "constant"})
    assert differences(recipe, override(recipe, {"train_epochs": 9.0})) == ["train_epochs: 8.0 -> 9.0"]
    given = override(recipe, {"clean_from_epoch": 3.0})
    assert differences(given, override(given, {"train_epochs": 9.0})) == []


def test_fine_grained_augments_as_the_paper_does_and_is_refused_without():
    recipe = named_recipe("efficientnet-b0", "digits", "fine_grained")
    assert recipe.data.augment_name == "autoaugment"
    with pytest.raises(RecipeError, match="trains on augmented images too: it needs --augment_name"):
        override(recipe, {"data.augment_name": "none"}).validate()


@pytest.mark.parametrize("model", ["efficientnet-b0", "efficientnet-b7", "resnet-50"])
def test_fast_advprop_is_one_step_through_statistics_of_the_batch(model):
    recipe = named_recipe(model, "imagenet", "fast_advprop")
    attack = AttackSpec("pgd", "linf", 1.0, 1.0, num_steps=1, batch_norm_mode="batch")
    assert (recipe.attack, recipe.fast_adversarial_share) == (attack, 0.2)
    assert recipe.term_weights == TermWeights(clean=1.0, noise=0.5, adversarial=0.5)
    assert [num_fast_adversarial(recipe.fast_adversarial_share, size) for size in (80, 32, 4)] == [16, 6, 1]


@pytest.mark.parametrize(
    ("scheme", "path", "value", "message"),
    [
        ("fast_advprop", "attack.num_steps", 2, "one untargeted step, not PGD-2"),
        ("fast_advprop", "attack.method", "none", "one untargeted step, not no perturbation"),
        ("fast_advprop", "attack.target", "random", "one untargeted step"),
        ("fast_advprop", "attack.batch_norm_mode", "running", "attack_bn has to be batch"),
        ("fast_advprop", "micro_batches", 2, "exclude each other"),
        ("fast_advprop", "fast_adversarial_share", 0.01, "makes 0 of a replica's 32 images adversarial"),
        ("fast_advprop", "fast_adversarial_share", 0.99, "makes 32 of a replica's 32"),
        ("fast_advprop", "fast_adversarial_share", 1.0, r"fast_adversarial_share 1 is outside \(0, 1\)"),
        ("fast_advprop", "term_weights.noise", -1.0, "weight of noise -1 is outside"),
        ("trades", "attack.target", "random", "trades attacks the predictions, not a class"),
        ("trades", "term_weights.clean", 0.0, "clean_weight 0 has to be above 0"),
        ("trades", "attack.random_start", False, "trades needs attack_random_start"),
        ("adversarial_then_clean", "clean_from_epoch", 8.0, "clean_from_epoch 8 is not inside the run's .* epochs"),
        ("adversarial_then_clean", "clean_from_epoch", 0.0, "clean_from_epoch 0 is not inside"),
        ("adversarial_then_clean", "term_weights.clean", 0.0, "nothing would be learned"),
        ("joint", "cadence.eval_branch", "auxiliary", "eval_branch 'auxiliary': the branches of scheme joint are main"),
    ],
)
def test_impossible_schemes_are_named(scheme, path, value, message):
    recipe = named_recipe("efficientnet-b0", "digits", scheme)
    with pytest.raises(RecipeError, match=message):
        override(recipe, {path: value}).validate()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("efficientnet-b9", "digits", "advprop"), "unknown model 'efficientnet-b9'; known: efficientnet-b0, "),
        (
            ("efficientnet-b0", "digits", "mixup"),
            "unknown scheme 'mixup'; known: vanilla, .*joint, advprop",
        ),
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
        ("attack.epsilon_px", -1.0, "attack epsilon_px -1 is outside"),
        ("term_weights.adversarial", -1.0, "weight of adversarial -1"),
        ("network.input_image_size", 4, r"input_image_size 4 is outside \[8, 4096\]"),
        ("network.width_coefficient", 0.0, "width_coefficient 0"),
        ("network.stem_strides", 3, "stem_strides 3"),
        ("data.holdout_shards", -1, "holdout_shards -1"),
        ("network.dropout_rate", 1.0, "dropout_rate 1"),
        ("network.survival_prob", 0.0, "survival_prob 0"),
        ("network.batch_norm_momentum", 1.0, "batch_norm_momentum 1"),
        ("network.preprocessing", "caffe", "known: advprop, imagenet"),
        ("network.name", "resnet-18", "unknown model 'resnet-18'; known: .*resnet-50"),
        ("data.num_label_classes", 1, "num_label_classes 1"),
        ("data.num_eval_images", 0, "num_eval_images 0"),
        ("data.eval_crop", "0.9", "known: pad32, 0.875, none"),
        ("data.resize", "nearest", "unknown resize 'nearest'; known: bicubic, bilinear"),
        ("data.augment_name", "augmix", "known: none, autoaugment, randaugment"),
        ("data.randaug_num_layers", 0, "randaug_num_layers 0"),
        ("data.randaug_magnitude", -1, "randaug_magnitude -1 is outside"),
        ("data.augment_pixel_scale", 0.0, "augment_pixel_scale 0 is outside"),
        ("data.mixup_alpha", -0.1, "mixup_alpha -0.1 is outside 0 or"),
        ("data.mixup_alpha", float("nan"), "mixup_alpha nan is not a finite number"),
        ("data.augment_pixel_scale", float("inf"), "augment_pixel_scale inf is not a finite number"),
        ("optimizer.optimizer", "lamb", "known: rmsprop"),
        ("optimizer.lr_schedule", "step", "step needs lr_step_epochs"),
        ("optimizer.lr_step_epochs", (30.0, 20.0), "lr_step_epochs 30,20 are not ascending"),
        ("optimizer.lr_step_epochs", (30.0, 30.0), "ascending"),
        ("optimizer.lr_step_epochs", (0.0, 30.0), "lr_step_epochs 0 is outside"),
        ("optimizer.lr_step_epochs", (30.0, float("inf")), "lr_step_epochs inf is not a finite number"),
        ("optimizer.lr_step_epochs", (float("nan"),), "lr_step_epochs nan is not a finite number"),
        ("optimizer.base_learning_rate", 0.0, "base_learning_rate 0"),
        ("optimizer.moving_average_decay", 1.0, "moving_average_decay 1"),
        ("cadence.iterations_per_loop", 0, "iterations_per_loop 0"),
        ("train_epochs", 1e308, r"train_epochs 1e\+308 is outside \(0, 1e6\]"),
        ("train_steps", 10**400, r"train_steps 10+\.\.\.0+ is outside \[1, 2147483647\]"),
        ("network.width_coefficient", 1e308, "width_coefficient 1e"),
        ("network.input_image_size", 2**31, "input_image_size 2147483648"),
        ("data.randaug_num_layers", 10**30, "randaug_num_layers 10+"),
        ("data.cutmix_alpha", 1e-300, "cutmix_alpha 1e-300 is outside 0 or"),
    ],
)
def test_impossible_values_are_named(path, value, message):
    recipe = named_recipe("efficientnet-b0", "digits", "advprop")
    with pytest.raises(RecipeError, match=message):
        override(recipe, {path: value}).validate()


def test_weights_that_learn_nothing_are_refused():
    recipe = override(named_recipe("efficientnet-b0", "digits", "vanilla"), {"term_weights.clean": 0.0})
    with pytest.raises(RecipeError, match="nothing would be learned"):
        recipe.validate()


def test_a_random_target_needs_a_class_outside_a_mixed_label():
    recipe = named_recipe("efficientnet-b0", "digits", "advprop")
    recipe = override(recipe, {"attack.target": "random", "data.mixup_alpha": 0.2, "data.num_label_classes": 2})
    with pytest.raises(RecipeError, match="no class outside a mixed label"):
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


@pytest.mark.parametrize(
    ("scheme", "changes", "passes", "cheaper"),
    [
        ("vanilla", {}, 1, 1),
        ("adversarial", {}, 2, 1.5),
        ("advprop", {}, 3, 2.5),
        ("advprop", {"attack.num_steps": 5}, 7, 4.5),
        ("advprop", {"attack.method": "none"}, 2, 2),
        ("fine_grained", {}, 4, 3.5),
        ("adversarial_then_clean", {}, 1.5, 1.25),
        (
            "adversarial_then_clean",
            {"clean_from_epoch": 6.0, "train_steps": 359},
            1.7505,
            1.3753,
        ),  # 6 of 359 * 32 / 1437 epochs
        ("fast_advprop", {"train_batch_size": 30}, 1.2, 1.2),
        ("trades", {"attack.num_steps": 10}, 12 + 1 / 3, 7 + 1 / 3),  # plus a forward pass for the clean predictions
        ("trades", {"attack.method": "none"}, 2, 2),
    ],
)
def test_passes_per_image_are_those_of_the_papers(scheme, changes, passes, cheaper):
    recipe = override(named_recipe("efficientnet-b0", "digits", scheme), changes)
    assert recipe.passes_per_image() == pytest.approx(passes, abs=1e-4)
    assert recipe.passes_per_image(attack_step=0.5) == pytest.approx(cheaper, abs=1e-4)


def test_fast_advprop_counts_what_each_replica_attacks():
    recipe = named_recipe("efficientnet-b0", "digits", "fast_advprop")
    assert recipe.train_batch_size == 32
    assert recipe.passes_per_image() == 1 + 6 / 32
    assert recipe.passes_per_image(num_replicas=8) == 1 + 1 / 4


def test_attacking_terms_are_those_whose_attack_changes_images():
    for scheme, expected in (("vanilla", []), ("joint", ["main"]), ("fine_grained", ["auxiliary"])):
        recipe = named_recipe("efficientnet-b0", "digits", scheme)
        assert [term.branch for term in recipe.attacking_terms] == expected
    assert not override(recipe, {"attack.method": "none"}).attacking_terms


def test_compared_values_are_those_that_decide_a_whole_run():
    recipe = named_recipe("efficientnet-b0", "digits", "advprop")
    values = compared_values(recipe)
    assert (
        compared_values(override(recipe, {"cadence.eval_batch_size": 7, "train_steps": recipe.total_steps})) == values
    )
    for change in ({"seed": 1}, {"attack.epsilon_px": 2.0}, {"train_steps": 7}):
        assert compared_values(override(recipe, change)) != values


def test_override_knows_only_the_recipes_paths():
    with pytest.raises(KeyError, match=r"optimizer\.nesterov"):
        override(named_recipe("efficientnet-b0", "digits", "advprop"), {"optimizer.nesterov": True})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda values: values.pop("seed"), "seed is missing"),
        (lambda values: values["attack"].pop("norm"), r"attack\.norm is missing"),
        (lambda values: values["optimizer"].update(nesterov=True), r"optimizer\.nesterov: no field of a Recipe"),
        (lambda values: values["optimizer"].update(momentum="much"), r"optimizer\.momentum is 'much', not .* float"),
        (lambda values: values["optimizer"].update(lr_step_epochs=["soon"]), r"optimizer\.lr_step_epochs is 'soon'"),
        (lambda values: values["optimizer"].update(lr_step_epochs=30.0), r"optimizer\.lr_step_epochs is 30\.0"),
        (lambda values: values.update(seed=None), "seed is None, not of type int"),
        (lambda values: values.update(optimizer=3), "optimizer is 3, not an object"),
        (lambda values: values.update(train_epochs=math.inf), "train_epochs inf is not a finite number"),
        (
            lambda values: values["attack"].update(epsilon_px=math.nan),
            r"attack\.epsilon_px nan is not a finite number",
        ),
        (
            lambda values: values["optimizer"].update(lr_step_epochs=[10**400]),
            "a number of 401 digits, 10+...: no number here has more than 19",
        ),
        (lambda values: values.update(version="new"), "version 'new' .* is not a number from 1 on"),
        (lambda values: values.update(version=0), "version 0"),
    ],
)
def test_a_damaged_record_is_refused_by_field(damage, message):
    values = json.loads(to_json(named_recipe("efficientnet-b0", "digits", "advprop")))
    damage(values)
    with pytest.raises(RecipeError, match=f"^{message}"):
        from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["{", "", "[]", "3"])
def test_other_json_is_refused(text):
    with pytest.raises(RecipeError, match=r"not a record|the record is .*, not an object"):
        from_json(text)


def test_numbers_in_a_row_survive_json_written_by_hand():
    recipe = named_recipe("resnet-50", "imagenet", "advprop")
    values = json.loads(to_json(recipe))
    assert values["optimizer"]["lr_step_epochs"] == [30.0, 60.0, 90.0, 100.0]
    values["optimizer"]["lr_step_epochs"] = [30, 60, 90, 100]
    again = from_json(json.dumps(values))
    assert again == recipe
    assert all(type(epoch) is float for epoch in again.optimizer.lr_step_epochs)


def test_recipes_are_values():
    recipe = named_recipe("efficientnet-b0", "digits", "advprop")
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 1
