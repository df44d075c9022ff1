"""Values that a recipe refuses, alone and together."""

import pytest

from efficientnet_advprop.recipes import RecipeError, named_recipe, override


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
        ("network.name", "resnet-18", "unknown model 'resnet-18': did you mean resnet-1"),
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


def test_override_knows_only_the_recipes_paths():
    with pytest.raises(KeyError, match=r"optimizer\.nesterov"):
        override(named_recipe("efficientnet-b0", "digits", "advprop"), {"optimizer.nesterov": True})
