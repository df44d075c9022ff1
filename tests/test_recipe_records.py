"""Recipes as records: differences, JSON, damaged records."""

import json
import math

import pytest

from efficientnet_advprop.recipes import (
    RecipeError,
    compared_values,
    differences,
    from_json,
    named_recipe,
    override,
    to_json,
)


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


def test_a_longer_run_would_move_the_default_switch():
    """Even with a constant rate, earlier steps would belong to another phase; an explicit switch does not move."""
    recipe = named_recipe("efficientnet-b0", "digits", "adversarial_then_clean")
    recipe = override(recipe, {"optimizer.lr_schedule": "constant"})
    assert differences(recipe, override(recipe, {"train_epochs": 9.0})) == ["train_epochs: 8.0 -> 9.0"]
    given = override(recipe, {"clean_from_epoch": 3.0})
    assert differences(given, override(given, {"train_epochs": 9.0})) == []


def test_compared_values_are_those_that_decide_a_whole_run():
    recipe = named_recipe("efficientnet-b0", "digits", "advprop")
    values = compared_values(recipe)
    assert (
        compared_values(override(recipe, {"cadence.eval_batch_size": 7, "train_steps": recipe.total_steps})) == values
    )
    for change in ({"seed": 1}, {"attack.epsilon_px": 2.0}, {"train_steps": 7}):
        assert compared_values(override(recipe, change)) != values


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
