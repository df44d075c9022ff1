"""Small networks and a small run for many tests: narrow blocks, 16-px digits, an iterator over them."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import open_source, train_dataset
from efficientnet_advprop.models import EfficientNet, build_model
from efficientnet_advprop.recipes import Recipe, named_recipe, override
from efficientnet_advprop.training.memory import activation_bytes
from efficientnet_advprop.training.state import TrainState, create_train_state

SEED = tf.constant([1, 2])  # for dropout and drop connect of a call


def small_recipe(scheme: str = "advprop", **changes: object) -> Recipe:
    """AdvProp (or another scheme) on digits with a narrow network.

    Changes are given as group__field=value.
    """
    small = {
        "network.width_coefficient": 0.25,
        "network.depth_coefficient": 0.2,
        "network.input_image_size": 16,
        "network.zero_init_residual": False,
        "train_batch_size": 8,
        "cadence.eval_batch_size": 60,
    }
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return override(named_recipe("efficientnet-b0", "digits", scheme), small | changed)


def one_cpu() -> tf.distribute.Strategy:
    """The strategy of a machine without accelerators; for two replicas see the fixture `two_replicas`."""
    return tf.distribute.OneDeviceStrategy("/cpu:0")


def new_state(recipe: Recipe, strategy: tf.distribute.Strategy, remat: bool = False) -> TrainState:
    """A new training state of the recipe's network."""
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


def small_model(branches=("main", "auxiliary"), randomized=True, **options) -> EfficientNet:
    """Seven narrow blocks (one residual) and ten classes; initialised with a fixed seed."""
    tf.keras.utils.set_random_seed(0)
    small = {"width_coefficient": 0.25, "depth_coefficient": 0.2, "dropout_rate": 0.0, "survival_prob": 1.0}
    model = build_model("efficientnet-b0", 10, branches, **(small | options))
    if randomized:
        randomize_norms(model)
    return model


def randomize_norms(model: tf.keras.Model) -> None:
    """Give the batch norms of each branch random values, so that they differ and are not the identity."""
    rng = np.random.default_rng(0)
    for branch in model.branches:
        for variable in model.branch_variables(branch):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))


def copy_weights(source: tf.keras.Model, target: tf.keras.Model) -> None:
    sources = source.weights_by_path()
    for path, variable in target.weights_by_path().items():
        variable.assign(sources[path])


def assert_equal_values(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], **tolerance) -> None:
    assert ours.keys() == theirs.keys()
    for path in ours:
        np.testing.assert_allclose(ours[path], theirs[path], err_msg=path, **tolerance)


def loss_gradients(model: tf.keras.Model, images: tf.Tensor, statistics: str | None = None) -> list[tf.Tensor]:
    """Gradients of a training call through the auxiliary branch, zero for variables that are not used."""
    with tf.GradientTape() as tape:
        logits = model(images, training=True, branch="auxiliary", statistics=statistics, seed=SEED)
        loss = tf.reduce_mean(logits**2)
    return tape.gradient(loss, model.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def kept_bytes(model: tf.keras.Model, batch_size: int, image_size: int) -> int:
    """Size of the forward pass's tensors that the backward pass of a traced training step reads."""
    forward = set()

    @tf.autograph.experimental.do_not_convert
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(images, training=True, seed=SEED))
        forward.update(operation.name for operation in tf.compat.v1.get_default_graph().get_operations())
        return tape.gradient(loss, model.trainable_variables)

    graph = tf.function(step).get_concrete_function(tf.TensorSpec([batch_size, image_size, image_size, 3])).graph
    unseen, seen, kept = [tensor.op for tensor in graph.outputs], set(), {}
    while unseen:
        operation = unseen.pop()
        if operation.name in seen or operation.name in forward:
            continue
        seen.add(operation.name)
        unseen.extend(tensor.op for tensor in operation.inputs)
        if not operation.type.startswith("Shape"):  # reads no values
            kept.update(
                (tensor.name, tensor)
                for tensor in operation.inputs
                if tensor.op.name in forward and tensor.op.type not in ("Placeholder", "ReadVariableOp")
            )
    return sum((tensor.shape.num_elements() or 0) * tensor.dtype.size for tensor in kept.values())


def kept_by_estimate(model: tf.keras.Model, batch_size: int, image_size: int, remat: bool = False) -> int:
    """The estimate of `kept_bytes`, in the precision of the model."""
    value_bytes = tf.as_dtype(model.compute_dtype).size
    return activation_bytes(model, batch_size, image_size, remat, value_bytes, on_tpu=False)
