"""Weights of timm and torchvision against timm's own: logits, names and shapes (data/timm, by timm_oracle.py)."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import efficientnet_advprop
from efficientnet_advprop.models import build_model, network_class
from efficientnet_advprop.models.weights import load_weights, open_weights
from efficientnet_advprop.models.weights.timm_names import network_of_tensors, timm_architecture, timm_names
from efficientnet_advprop.recipes import NETWORKS, RecipeError, family_of, network_spec
from tests import timm_oracle as oracle
from tests.command_line import refused
from tests.timm_files import COUNTER, config_of, write

THREE = ("main", "auxiliary", "augmented")
NETWORK_OF = {timm_architecture(name): name for name in NETWORKS if not family_of(name).of_keras}
LISTED = [architecture for architecture in oracle.ARCHITECTURES if architecture in NETWORK_OF]
EXPECTED = oracle.expected_logits()


def assert_logits(model: tf.keras.Model, key: str, size: int, branch: str = "main") -> None:
    expected = EXPECTED[key]
    logits = model(oracle.images(size), branch=branch)
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max(), rtol=0, err_msg=key)


def shapes(architecture: str) -> dict[str, list[int]]:
    return oracle.small_head(oracle.shapes_of(architecture))


@pytest.mark.parametrize("architecture", [one for one in oracle.NORMALISATIONS if one in NETWORK_OF])
def test_logits_are_timms(architecture, tmp_path):
    """At even and odd sizes, with batch norms whose statistics have moved; the file alone shows which network it is."""
    path = write(tmp_path, oracle.state_dict(shapes(architecture)))
    network = open_weights(path).facts.settings["network.name"]
    assert network == NETWORK_OF[architecture]
    preprocessing = "advprop" if oracle.NORMALISATIONS[architecture][0] == (0.5,) * 3 else "imagenet"
    model = build_model(network, oracle.NUM_CLASSES, preprocessing=preprocessing)
    assert efficientnet_advprop.load_weights(model, path) == []
    for size in oracle.SIZES:
        assert_logits(model, f"{architecture}/{size}", size)


def test_timms_split_batch_norms_are_those_of_further_branches(tmp_path):
    tensors = oracle.state_dict(oracle.with_second_norms(shapes(oracle.SPLIT), 2))
    config = config_of(oracle.SPLIT, oracle.NUM_CLASSES, *oracle.NORMALISATIONS[oracle.SPLIT])
    model = build_model("efficientnet-b0", oracle.NUM_CLASSES, THREE)
    notes = load_weights(model, write(tmp_path, tensors, config))
    assert notes[:2] == [
        "auxiliary branch: loaded from aux_bn.0",
        "augmented branch: loaded from aux_bn.1",
    ]
    assert notes[2:] == ["published evaluation, by config.json: px 224, crop_pct 0.875, interpolation bicubic"]
    for branch, key in zip(THREE, (oracle.SPLIT_SIZE, "aux_bn.0", "aux_bn.1"), strict=True):
        assert_logits(model, f"{oracle.SPLIT}/{key}", oracle.SPLIT_SIZE, branch)


@pytest.fixture(scope="module")
def parameters() -> dict[str, int]:
    """Trainable parameters by network, in the table that is counted from the networks."""
    table = (Path(__file__).parents[1] / "docs/models.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.startswith("| ")]
    return {row[1]: int(row[4].replace(",", "")) for row in rows if row[1] in NETWORKS}


@pytest.mark.parametrize("architecture", LISTED)
def test_names_shapes_and_parameters_are_those_of_the_published_files(architecture, parameters):
    network, theirs = NETWORK_OF[architecture], oracle.shapes_of(architecture)
    model = network_class(family_of(network))(network_spec(network))  # without variables
    names = timm_names(model)
    assert sorted(names.values()) == sorted(name for name in theirs if not name.endswith(COUNTER))
    assert network_of_tensors(shapes_in_our_order(theirs)) == network  # by the kernels of the last block
    trained = [shape for name, shape in theirs.items() if name.endswith((".weight", ".bias"))]
    assert sum(int(np.prod(shape)) for shape in trained) == parameters[network]


def shapes_in_our_order(shapes: dict[str, list[int]]) -> SimpleNamespace:
    """What `TimmFile` says of a file of these tensors."""

    def ours(name: str, shape: list[int]) -> list[int]:
        if len(shape) == 4:
            outputs, inputs, height, width = shape
            return [height, width, outputs, inputs] if "conv_dw" in name else [height, width, inputs, outputs]
        return shape[::-1]

    return SimpleNamespace(path="x.safetensors", shapes={name: ours(name, shape) for name, shape in shapes.items()})


@pytest.mark.parametrize(
    "change",
    [
        lambda shapes: {name: shape for name, shape in shapes.items() if not name.startswith("layer4.2.")},
        lambda shapes: {name: shape for name, shape in shapes.items() if ".conv3." not in name},  # as ResNet-34
        lambda shapes: {name: [2 * size for size in shape] for name, shape in shapes.items()},  # as Wide ResNet
        lambda shapes: {f"module.{name}": shape for name, shape in shapes.items()},
        lambda shapes: {"embeddings": [3, 4]},
    ],
)
def test_tensors_of_other_networks_are_refused(change):
    with pytest.raises(RecipeError, match=r"holds tensors of none of timm's tf_efficientnet_b0, .*resnet"):
        network_of_tensors(shapes_in_our_order(change(oracle.shapes_of("resnet50"))))


def test_without_a_config_a_flag_gives_the_preprocessing(tmp_path, capsys):
    path = write(tmp_path, oracle.state_dict(shapes("resnet50")))
    line = refused("--mode=export", f"--init_checkpoint={path}", f"--export_dir={tmp_path}", capsys=capsys)
    assert re.search(r"give --preprocessing: neither .*model.safetensors nor its folder gives", line)
