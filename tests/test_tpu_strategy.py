"""TPUStrategy without a TPU: what it refuses in Python, and what it puts into the graph.

Its cores are logical CPUs here. Variables are made, read and saved on them, and replicas are traced. Only a TPU can run
the traced replicas.
"""

import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

import tpu_utils
from efficientnet_advprop.data import eval_dataset, open_source
from efficientnet_advprop.evaluation import PredictionCollector, adversarial_examples, strength, under_attack
from efficientnet_advprop.evaluation.unlabelled import logits_of_batches
from efficientnet_advprop.recipes import EVALUATION_ATTACK, MAIN_BRANCH, WeightsRecord
from efficientnet_advprop.training.checkpoints import Checkpoints
from efficientnet_advprop.training.loop import make_step_loop
from tests.small import assert_equal_values, new_state, small_recipe, train_iterator, values

pytestmark = pytest.mark.usefixtures("two_blocks")

# Operations of the replication itself, whose kernels are in TensorFlow's builds for TPUs only.
_OF_TPUS = {"TPUReplicateMetadata", "CrossReplicaSum"}


class _NameOfCore(str):
    """A device that TPUStrategy takes for a core, as it looks for this text in the name."""

    def __contains__(self, text):
        return text == "device:TPU:" or super().__contains__(text)


@pytest.fixture(scope="module")
def tpu():
    names = [f"/job:localhost/replica:0/task:0/device:CPU:{index}" for index in range(2)]
    system = types.SimpleNamespace(
        devices=[types.SimpleNamespace(name=_NameOfCore(name)) for name in names],
        num_hosts=1,
        num_cores=len(names),
        num_of_cores_per_host=len(names),
    )
    strategy = tf.distribute.TPUStrategy(types.SimpleNamespace(get_tpu_system_metadata=lambda: system))
    policy = tf.keras.mixed_precision.global_policy()
    assert tpu_utils.set_precision(None, strategy) == "mixed_bfloat16"
    yield strategy
    tf.keras.mixed_precision.set_global_policy(policy)


def replicated(graph: tf.Graph) -> list:
    """The nodes that replicas run, those of the functions they call included."""
    definition = graph.as_graph_def()
    functions = {function.signature.name: function.node_def for function in definition.library.function}
    everywhere = [*definition.node, *(node for nodes in functions.values() for node in nodes)]
    unseen, found, entered = [node for node in everywhere if "_tpu_replicate" in node.attr], [], set()
    while unseen:
        node = unseen.pop()
        found.append(node)
        for name in {value.func.name for value in node.attr.values()} & set(functions) - entered:
            entered.add(name)
            unseen.extend(functions[name])
    return found


def require_kernels(nodes: list) -> None:
    """XLA must have a kernel for every operation on both of its devices in this build: then TPUs have it too."""
    for operation in {node.op for node in nodes} - _OF_TPUS:
        devices = {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(operation).kernel}
        assert {"XLA_CPU_JIT", "XLA_GPU_JIT"} <= devices, operation


def averaged_after_update(nodes: list, update: str) -> int:
    """The number of variables that are read once after their update: for the moving average."""
    updates = {node.input[0]: f"^{node.name}" for node in nodes if node.op == update}
    reads = [node for node in nodes if node.op == "ReadVariableOp" and node.input[0] in updates]
    return sum(updates[node.input[0]] in node.input for node in reads)


@pytest.mark.parametrize(
    ("scheme", "optimizer", "update", "changes", "num_barriers"),
    [
        ("advprop", "rmsprop", "ResourceApplyRMSProp", {"micro_batches": 2}, 1),
        ("fast_advprop", "momentum", "ResourceApplyMomentum", {"network.sync_batch_norm": True}, 2),
    ],
)
def test_steps_are_traced(tpu, tmp_path, scheme, optimizer, update, changes, num_barriers):
    """Gradients and metrics are summed over the cores, what moves is updated on each; barriers order the passes."""
    recipe = small_recipe(scheme, optimizer__optimizer=optimizer, **changes)
    state = new_state(recipe, tpu)
    iterator = train_iterator(recipe, tpu)
    loop = make_step_loop(state, recipe, tpu, recipe.phases[0].terms, recipe.total_steps)
    nodes = replicated(loop.run.get_concrete_function(iterator, tf.constant(0)).graph)
    require_kernels(nodes)
    operations = [node.op for node in nodes]
    assert operations.count("TPUReplicateMetadata") == 1
    assert operations.count("XlaOptimizationBarrier") == num_barriers
    assert operations.count(update) == len(state.model.trainable_variables)
    assert operations.count("CrossReplicaSum") >= len(state.model.trainable_variables)
    assert averaged_after_update(nodes, update) == len(state.model.trainable_variables)
    assert {spec.dtype for spec in tf.nest.flatten(iterator.element_spec, expand_composites=True)} == {tf.float32}
    assert loop.metrics.take()[1] == []
    if scheme == "advprop":
        check_checkpoints(state, recipe, tmp_path)


def check_checkpoints(state, recipe, tmp_path):
    """The values of packed variables come back from a checkpoint, and a weight that is not finite is named."""
    record, folder = WeightsRecord(recipe, tuple("0123456789")), str(tmp_path)
    checkpoints = Checkpoints(state, record, folder, folder, keep_max=1, io_device="/job:localhost")
    checkpoints.save()
    saved = values(state.model)
    for variable in state.model.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    checkpoints.restore_latest()
    assert_equal_values(values(state.model), saved, rtol=0)
    state.optimizer.iterations.assign_add(1)
    path, variable = list(state.model.weights_by_path().items())[-1]
    variable.assign(np.full(variable.shape, np.nan))
    with pytest.raises(FloatingPointError, match=path):
        checkpoints.save()


def test_evaluation_is_traced(tpu):
    """Predictions under attack, of images without labels, and the drawn examples of a run."""
    recipe = small_recipe("vanilla")
    model = new_state(recipe, tpu).average_model
    source = open_source(recipe.data, None)
    batches = tpu.distribute_datasets_from_function(lambda context: eval_dataset(source, recipe, context))
    specs = tf.nest.flatten(batches.element_spec, expand_composites=True)
    assert {spec.dtype for spec in specs} == {tf.float32, tf.int32}  # TPUs take no strings
    assert all(spec.shape.is_fully_defined() for spec in specs)
    predict = under_attack(model, MAIN_BRANCH, EVALUATION_ATTACK, "any", restarts=2, seed=0)
    arguments = (next(iter(batches)), tf.constant(0), *strength(EVALUATION_ATTACK))
    traced = PredictionCollector(tpu, predict)._on_replicas.get_concrete_function(*arguments)
    nodes = replicated(traced.graph)
    require_kernels(nodes)
    assert "While" in {node.op for node in nodes}
    # These two also run the graph, which ends at the first operation of TPUs.
    with pytest.raises(tf.errors.InvalidArgumentError, match="TPUReplicate"):
        logits_of_batches(tpu, model)([np.zeros((16, 16, 3), np.float32)] * 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="TPUReplicate"):
        adversarial_examples(tpu, model, batches, MAIN_BRANCH, EVALUATION_ATTACK, count=8, seed=0)
