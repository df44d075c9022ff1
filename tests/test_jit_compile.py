"""`--jit_compile`: passes under XLA compute what they compute without; what it does not go with is refused."""

import numpy as np
import pytest
import tensorflow as tf

import flags
import tpu_utils
from efficientnet_advprop.models import build_model, efficientnet
from efficientnet_advprop.modes.session import connect
from efficientnet_advprop.recipes import Recipe, RecipeError, RunOptions
from efficientnet_advprop.training.loop import make_step_loop
from efficientnet_advprop.training.state import create_train_state
from tests.command_line import set_flags
from tests.small import one_cpu, small_recipe, train_iterator, values
from tests.test_training import DETERMINISTIC


@pytest.fixture
def one_block(monkeypatch):
    """XLA takes seconds for a convolution on a CPU."""
    monkeypatch.setattr(efficientnet, "_B0_STAGES", efficientnet._B0_STAGES[:1])


def trained(recipe: Recipe, strategy: tf.distribute.Strategy, remat: bool, jit_compile: bool):
    """Values after two steps, their means of losses, and the operations of the step's graph."""

    def make_model():
        return build_model(recipe.network, recipe.data.num_label_classes, recipe.branches, remat)

    state = create_train_state(strategy, make_model, recipe, jit_compile)
    loop = make_step_loop(state, recipe, strategy, recipe.phases[0].terms, 2)
    iterator = train_iterator(recipe, strategy)
    loop.run(iterator, tf.constant(2))
    functions = loop.run.get_concrete_function(iterator, tf.constant(2)).graph.as_graph_def().library.function
    compiled = [function for function in functions if function.attr["_XlaMustCompile"].b]
    of_models = {
        f"{kind}/{path}": value
        for kind in ("model", "average_model")
        for path, value in values(getattr(state, kind)).items()
    }
    return of_models, loop.metrics.take()[0], len(compiled)


@pytest.mark.parametrize(
    ("scheme", "remat", "micro_batches", "passes"), [("vanilla", False, 1, 1), ("advprop", True, 2, 2)]
)
@pytest.mark.usefixtures("one_block")
def test_compiled_passes_train_as_plain_ones(two_replicas, scheme, remat, micro_batches, passes):
    """Weights, averages and statistics of every branch, after two steps without a perturbation.

    On two replicas; and on one device with all that wraps a pass.
    """
    strategy = one_cpu() if remat else two_replicas
    changes = {"attack__method": "none"} if scheme == "advprop" else {}
    momentum = {"optimizer__optimizer": "momentum", "optimizer__base_learning_rate": 0.5}
    recipe = small_recipe(scheme, micro_batches=micro_batches, **changes, **momentum, **DETERMINISTIC)
    plain, losses, none = trained(recipe, strategy, remat, jit_compile=False)
    compiled, compiled_losses, number = trained(recipe, strategy, remat, jit_compile=True)
    assert (none, number) == (0, passes * strategy.num_replicas_in_sync)
    for name, loss in losses.items():
        assert compiled_losses[name] == pytest.approx(loss, rel=1e-5), name
    for path, value in plain.items():
        # Values that are 0 but for rounding, as means behind another batch norm, have no relative precision.
        np.testing.assert_allclose(compiled[path], value, rtol=1e-5, atol=1e-6, err_msg=path)


def test_synchronised_norms_are_refused_before_any_device_is_used():
    values = set_flags("--mode=train", "--jit_compile", "--sync_batch_norm")
    with pytest.raises(RecipeError, match=r"^--jit_compile and --sync_batch_norm exclude each other: "):
        flags.settings_from_flags(values)
    with pytest.raises(RecipeError, match="jit_compile and sync_batch_norm exclude each other"):
        create_train_state(one_cpu(), lambda: None, small_recipe(network__sync_batch_norm=True), jit_compile=True)


def test_a_tpu_compiles_everything_already(monkeypatch):
    tpu = object.__new__(tf.distribute.TPUStrategy)
    monkeypatch.setattr(tpu_utils, "connect", lambda *request: tpu)
    with pytest.raises(RecipeError, match="--jit_compile would have no effect: on a TPU"):
        connect(RunOptions("x", jit_compile=True))
    assert connect(RunOptions("x")) is tpu
