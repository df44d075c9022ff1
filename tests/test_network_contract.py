"""What the training loop asks of a network (`TrainableNetwork`), of every kind of network."""

import inspect
from typing import get_type_hints

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import build_model
from efficientnet_advprop.randomness import only_given_seeds
from efficientnet_advprop.training.network import TrainableNetwork
from tests.exports import new_network
from tests.small import SEED, kept_by_estimate, randomize_norms, values
from tests.tiny_keras import TINY, tiny_networks

TWO = ("main", "auxiliary")
KINDS = ("efficientnet-b0", "resnet-50", TINY)


def make(kind: str, branches=TWO):
    tf.keras.utils.set_random_seed(0)
    if kind != TINY:
        return new_network(kind, branches)
    with tiny_networks():
        return build_model(TINY, 10, branches, input_image_size=32)


@pytest.fixture(scope="module", params=KINDS)
def network(request):
    network = make(request.param)
    network.kind = request.param
    randomize_norms(network)
    return network


@pytest.fixture(scope="module")
def images() -> tf.Tensor:
    return tf.random.stateless_uniform((6, 32, 32, 3), [1, 2], 0.0, 255.0)


def ids(variables) -> set[int]:
    return {id(variable) for variable in variables}


def test_it_has_all_members(network):
    for name in get_type_hints(TrainableNetwork):
        assert hasattr(network, name), name
    for name, method in inspect.getmembers(TrainableNetwork, inspect.isfunction):
        if name in ("__init__", "__call__", "__subclasshook__") or name.startswith("_"):
            continue
        asked = list(inspect.signature(method).parameters)[1:]
        assert list(inspect.signature(getattr(network, name)).parameters)[: len(asked)] == asked, name
    asked = list(inspect.signature(TrainableNetwork.__call__).parameters)[1:]
    assert list(inspect.signature(network.call).parameters) == asked


def test_logits_are_the_classifiers_of_the_features(network, images):
    for branch in TWO:
        logits, features = network(images, branch=branch), network.features(images, branch=branch)
        assert (logits.dtype, logits.shape) == (tf.float32, (6, 10))
        np.testing.assert_array_equal(network.classifier(features), logits)
    assert np.any(network(images) != network(images, branch="auxiliary"))


def test_only_training_moves_statistics_and_only_the_branchs(network, images):
    for branch, other in (TWO, TWO[::-1]):
        before = values(network)
        network(images, branch=branch)
        network(images, branch=branch, statistics="running")
        unmoved = values(network)
        assert all(np.array_equal(unmoved[path], before[path]) for path in before)
        network(images, training=True, branch=branch, seed=SEED)
        moved = {path for path, value in values(network).items() if np.any(value != before[path])}
        assert moved == {path for path in before if f".norms.{branch}.moving_" in path}
        assert not [path for path in moved if f".{other}." in path]


def test_masks_are_functions_of_the_seed(network, images):
    first, again, other = (network(images, training=True, seed=tf.constant(seed)) for seed in ([1, 2], [1, 2], [3, 4]))
    np.testing.assert_array_equal(first, again)
    drops = network.kind != "resnet-50"
    assert np.any(first != other) == drops
    if drops:
        with only_given_seeds(), pytest.raises(ValueError, match="seed"):
            network(images, training=True)


@pytest.mark.parametrize("wrong", [{"branch": "nothing"}, {"statistics": "nothing"}])
def test_unknown_branches_and_statistics_are_refused(network, images, wrong):
    with pytest.raises(ValueError, match=r"unknown (branch|statistics) 'nothing'"):
        network(images, **wrong)


def test_every_variable_is_shared_or_one_branchs(network):
    paths, parts = network.weights_by_path(), network.partition()
    assert list(parts) == ["shared", *TWO]
    assert sorted(id(variable) for part in parts.values() for variable in part) == sorted(ids(network.weights))
    assert ids(paths.values()) == ids(network.weights)
    assert len(paths) == len(network.weights)
    for branch in TWO:
        of_branch = {id(variable) for path, variable in paths.items() if f".norms.{branch}." in path}
        assert ids(network.branch_variables(branch)) == ids(parts[branch]) == of_branch
    assert ids(network.decayed_variables()) == ids(parts["shared"]) & ids(network.trainable_variables)
    assert ids(network.decayed_variables(decay_batch_norm=True)) == ids(network.trainable_variables)
    assert network.count_params() == sum(variable.shape.num_elements() for variable in paths.values())


def test_paths_are_those_of_one_branch_and_of_checkpoints(network, tmp_path):
    one, paths = make(network.kind, ("main",)), network.weights_by_path()
    assert one.weights_by_path().keys() == {path for path in paths if ".auxiliary." not in path}
    written = tf.train.Checkpoint(model=network).write(str(tmp_path / "checkpoint"))
    reader = tf.train.load_checkpoint(written)
    for path, variable in paths.items():
        key = f"model/{path.replace('.', '/')}/.ATTRIBUTES/VARIABLE_VALUE"
        np.testing.assert_array_equal(reader.get_tensor(key), variable)


def test_activations_grow_with_the_batch_and_the_image(network):
    small = kept_by_estimate(network, 2, 32)
    assert kept_by_estimate(network, 4, 32) == 2 * small > 0
    assert kept_by_estimate(network, 2, 64) == pytest.approx(4 * small, rel=0.1)
