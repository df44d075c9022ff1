"""OpenVINO reads the SavedModel for serving: no operation in the way, and the same numbers where it is installed."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from efficientnet_advprop.export import export_network
from tests.exports import NAMES, served, some_images, trained_network


@pytest.fixture(scope="module", params=["efficientnet-b0", "resnext-50-32x4d"])
def exported(request, tmp_path_factory):
    """(trained network, version folder) of a small network."""
    trained = trained_network(request.param)
    folder, _ = export_network(served(trained), "saved_model", str(tmp_path_factory.mktemp("exports")))
    return trained, folder


def test_no_signature_looks_up_a_table(exported):
    """The converter refuses a graph with an uninitialised resource, as a lookup table is."""
    _, folder = exported
    saved = saved_model_pb2.SavedModel.FromString(Path(folder, "saved_model.pb").read_bytes())
    [meta_graph] = saved.meta_graphs
    graph = meta_graph.graph_def
    operations = {node.op for node in graph.node}
    operations |= {node.op for function in graph.library.function for node in function.node_def}
    assert {"Conv2D", "Placeholder", "VarHandleOp"} <= operations
    assert not [operation for operation in operations if "Table" in operation]


def test_openvino_computes_what_the_network_computes(exported, monkeypatch):
    openvino = pytest.importorskip("openvino")
    monkeypatch.setenv("CI", "true")  # it sends no telemetry then
    trained, folder = exported
    # By default it computes in bfloat16 on a CPU that can.
    network = openvino.compile_model(openvino.convert_model(folder), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for number in (1, 33):
        images = some_images(number)
        answers = network({"images": images})
        expected = tf.nn.softmax(trained(images)).numpy()
        np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
        np.testing.assert_array_equal(answers["classes"], expected.argmax(axis=1))
        assert [row[0] for row in answers["top_labels"].tolist()] == [NAMES[row.argmax()] for row in expected]
