"""TensorFlow Lite and ONNX: what their own runtimes compute, and the comparison that is printed."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.export import export_network, formats, require_packages
from efficientnet_advprop.recipes import RecipeError
from efficientnet_advprop.reporting import comparison_table
from tests.exports import FAMILIES, NAMES, served, some_images, trained_network


@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning")
def test_tflite_files_compute_what_the_network_computes(tmp_path):
    trained = trained_network("resnet-50")
    folder, rows = export_network(served(trained), "tflite", str(tmp_path))
    assert folder == str(tmp_path / "tflite" / "1")
    expected = tf.nn.softmax(trained(some_images())).numpy()
    for name, tolerance in (("float16", 0.005), ("int8", 0.05)):
        interpreter = tf.lite.Interpreter(f"{folder}/{name}.tflite")
        predict = interpreter.get_signature_runner("serving_default")
        outputs = [predict(images=image[None]) for image in some_images()]
        assert set(outputs[0]) == {"logits", "probabilities"}
        answers = np.concatenate([output["probabilities"] for output in outputs])
        np.testing.assert_allclose(answers, expected, atol=tolerance)
    by_file = {row["file"]: row for row in rows}
    assert list(by_file) == ["SavedModel", "float16.tflite", "int8.tflite"]
    assert by_file["SavedModel"]["largest_probability_difference"] == 0
    assert 0 < by_file["float16.tflite"]["largest_probability_difference"] < 0.005
    assert (
        by_file["int8.tflite"]["megabytes"]
        < by_file["float16.tflite"]["megabytes"]
        < by_file["SavedModel"]["megabytes"]
    )
    assert all(row["milliseconds_per_image"] > 0 for row in rows)
    assert (tmp_path / "tflite" / "1" / "labels.txt").read_text().splitlines() == list(NAMES)
    assert "float32 [1, 32, 32, 3]" in (tmp_path / "tflite" / "1" / "model_card.md").read_text()
    table = comparison_table(rows)
    for text in (
        "largest probability difference",
        "top1 agreement",
        "megabytes",
        "milliseconds per image",
        "100.00 %",
    ):
        assert text in table


@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_computes_what_the_network_computes(family, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    trained = trained_network(family)
    folder, rows = export_network(served(trained), "onnx", str(tmp_path))
    session = onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])
    for number in (1, 33):
        images = some_images(number)
        (probabilities,) = session.run(["probabilities"], {"images": images})
        np.testing.assert_allclose(probabilities, tf.nn.softmax(trained(images)), atol=1e-5)
    assert [row["file"] for row in rows] == ["SavedModel", "model.onnx"]
    assert rows[1]["top1_agreement"] == 1
    assert rows[1]["largest_probability_difference"] < 1e-5


def test_missing_packages_are_named_with_their_installation(monkeypatch):
    monkeypatch.setattr(formats, "_PACKAGES", {"onnx": ("json", "no_such_package")})
    with pytest.raises(RecipeError, match=r"^--export_format=onnx needs no_such_package: pip install '\.\[onnx\]'$"):
        require_packages("onnx")
    require_packages("tflite")
