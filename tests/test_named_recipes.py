"""Named recipes: published constants, provenance, unknown names."""

import dataclasses

import pytest

from efficientnet_advprop import recipes
from efficientnet_advprop.recipes import DATASETS, SCHEMES, RecipeError, from_json, named_recipe, to_json

# Of Keras' many networks one without and one with drop connect, a deep one, and one that takes no images of 32 px.
OF_KERAS = ("keras:MobileNetV2", "keras:EfficientNetV2B0", "keras:ResNetRS200", "keras:InceptionV3")
MODELS = [name for name in recipes.NETWORKS if not recipes.family_of(name).of_keras or name in OF_KERAS]
ALL = [(model, dataset, scheme) for model in MODELS for dataset in DATASETS for scheme in SCHEMES]


@pytest.mark.parametrize(("model", "dataset", "scheme"), ALL)
def test_every_named_recipe_is_valid_and_survives_json(model, dataset, scheme):
    recipe = named_recipe(model, dataset, scheme)
    recipe.validate()
    assert from_json(to_json(recipe)) == recipe
    measured = {
        "digits": ("efficientnet-b0", "efficientnet-b7", "resnet-50", "keras:MobileNetV2"),
        "cifar10": ("efficientnet-b0",),
    }
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


@pytest.mark.parametrize("model", MODELS)
def test_deep_networks_have_a_short_run_on_digits(model):
    deep = {f"efficientnet-{suffix}" for suffix in ("b5", "b6", "b7", "b8", "l2")}
    deep |= {"resnet-101", "resnet-152", "resnet-200", "keras:ResNetRS200"}
    deep |= {name for name in MODELS if name.startswith("resnext-101")}
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


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("efficientnet-b9", "digits", "advprop"), "unknown model 'efficientnet-b9': did you mean efficientnet-b[0-8]"),
        (
            ("efficientnet-b0", "digits", "mixup"),
            "unknown scheme 'mixup'; known: vanilla, .*joint, advprop",
        ),
    ],
)
def test_unknown_names_are_listed_with_the_known(names, message):
    with pytest.raises(RecipeError, match=message):
        named_recipe(*names)


def test_recipes_are_values():
    recipe = named_recipe("efficientnet-b0", "digits", "advprop")
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 1
