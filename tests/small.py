"""A small run that tests share: narrow blocks, 16-px digits, an iterator over them."""

from collections.abc import Iterator

import tensorflow as tf

from efficientnet_advprop.data import open_source, train_dataset
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import Recipe, named_recipe, override
from efficientnet_advprop.training.state import TrainState, create_train_state


def small_recipe(scheme: str = "advprop", **changes: object) -> Recipe:
    """AdvProp (or another scheme) on digits with a narrow network.

    Changes are given as group__field=value.
    """
    small = {
        "network.width_coefficient": 0.25,
        "network.depth_coefficient": 0.2,
        "network.input_image_size": 16,
        "train_batch_size": 8,
        "cadence.eval_batch_size": 60,
    }
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return override(named_recipe("efficientnet-b0", "digits", scheme), small | changed)


def one_cpu() -> tf.distribute.Strategy:
    """The strategy of a machine without accelerators; the fixture `two_replicas` is its counterpart."""
    return tf.distribute.OneDeviceStrategy("/cpu:0")


def new_state(recipe: Recipe, strategy: tf.distribute.Strategy, remat: bool = False) -> TrainState:
    """A fresh state of the recipe's network."""
    return create_train_state(
        strategy, lambda: build_model(recipe.network, recipe.data.num_label_classes, recipe.branches, remat), recipe
    )


def train_iterator(recipe: Recipe, strategy: tf.distribute.Strategy, start_step: int = 0) -> Iterator:
    """Distributed training batches of digits from a step on."""
    source = open_source(recipe.data, None)
    return iter(
        strategy.distribute_datasets_from_function(lambda context: train_dataset(source, recipe, context, start_step))
    )


def values(model: tf.keras.Model) -> dict:
    """Every variable's value by path."""
    return {path: variable.numpy() for path, variable in model.weights_by_path().items()}
