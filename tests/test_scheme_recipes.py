"""Schemes: terms and phases, branches, the switch to clean images, passes per image."""

import dataclasses

import pytest

from efficientnet_advprop.recipes import (
    SCHEMES,
    AttackSpec,
    Phase,
    RecipeError,
    Term,
    TermWeights,
    named_recipe,
    num_fast_adversarial,
    override,
)


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
