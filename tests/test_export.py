"""The SavedModel: loads with TensorFlow alone, computes the same, holds one branch, refuses invalid input."""

import functools
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from efficientnet_advprop import locks
from efficientnet_advprop.data import preprocess_eval
from efficientnet_advprop.export import ExportError, bytes_of, export_network, saved_model
from efficientnet_advprop.export.saved_model import stored_variables
from efficientnet_advprop.export.signatures import ServingModule
from efficientnet_advprop.export.versions import new_version
from efficientnet_advprop.export.warmup import WARMUP_FILE, new_message
from efficientnet_advprop.models import build_model
from tests.exports import FAMILIES, NAMES, SIZE, new_network, served, some_images, trained_network
from tests.real_images import IMAGENET_SAMPLE, needs_imagenet_sample
from tests.small import new_state, small_recipe

OUTPUTS = {"logits", "probabilities", "classes", "top_classes", "top_scores", "top_labels"}
TOLERANCE = 1e-5

# 2 x 2 pixels of 24 bits; rows are padded to 8 bytes.
TINY_BMP = (
    b"BM" + struct.pack("<IHHI", 70, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 24, 0, 16, 0, 0, 0, 0)
) + bytes([10, 200, 30, 40, 250, 60, 0, 0]) * 2

CALL_EVERY_SIGNATURE = """
import sys
import numpy as np, tensorflow as tf
folder, inputs, outputs = sys.argv[1:]
signatures = tf.saved_model.load(folder).signatures
results = {}
for name, images in np.load(inputs, allow_pickle=True).items():
    given = tf.constant(list(images)) if images.dtype == object else tf.constant(images)
    for output, value in signatures[name.partition("/")[0]](images=given).items():
        results[f"{name}/{output}"] = value.numpy()
np.savez(outputs, **results)
print([name for name in sys.modules if name.startswith(("efficientnet_advprop", "tensorflow_addons"))])
"""


@pytest.fixture(scope="module")
def export_of(tmp_path_factory):
    """(trained network, version folder) of a small network of a family, exported once."""

    @functools.cache
    def export(family):
        trained = trained_network(family)
        folder, comparison = export_network(served(trained), "saved_model", str(tmp_path_factory.mktemp(family)))
        assert comparison is None
        return trained, folder

    return export


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request, export_of):
    return export_of(request.param)


@pytest.fixture(scope="module")
def b0(export_of):
    """(trained network, loaded SavedModel) of a small B0."""
    trained, folder = export_of("efficientnet-b0")
    return trained, tf.saved_model.load(folder)


def encoded_images() -> list[bytes]:
    """JPEG, PNG (grey too) and BMP in odd sizes."""
    rng = np.random.default_rng(2)
    pixels = [rng.integers(0, 256, (37 + index, 51, 3), np.uint8) for index in range(3)]
    return [
        tf.io.encode_jpeg(pixels[0]).numpy(),
        tf.io.encode_png(pixels[1]).numpy(),
        tf.io.encode_png(pixels[2][..., :1]).numpy(),
        TINY_BMP,
    ]


def test_a_process_with_tensorflow_alone_gets_the_same_from_every_signature(exported, tmp_path):
    trained, folder = exported
    assert os.path.basename(folder) == "1"
    rng = np.random.default_rng(3)
    floats = rng.uniform(0, 255, (33, SIZE, SIZE, 3)).astype(np.float32)
    whole = rng.integers(0, 256, (2, SIZE + 8, SIZE + 3, 3)).astype(np.uint8)  # another size than the trained one
    encoded_files = encoded_images()
    inputs = {
        "serving_default": floats,
        "serving_default/one": floats[:1],
        "serving_uint8": whole,
        "serving_bytes": np.array(encoded_files, object),
        "features": floats[:2],
    }
    np.savez(tmp_path / "in.npz", **inputs)
    script = [sys.executable, "-c", CALL_EVERY_SIGNATURE, folder, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    outputs = np.load(tmp_path / "out.npz", allow_pickle=True)
    np.testing.assert_allclose(outputs["features/features"], trained.features(floats[:2]), rtol=1e-4, atol=1e-5)
    seen = {
        "serving_default": floats,
        "serving_default/one": floats[:1],
        "serving_uint8": whole.astype(np.float32),
        "serving_bytes": np.stack([preprocess_eval(tf.constant(image), SIZE) for image in encoded_files]),
    }
    for name, images in seen.items():
        logits = trained(images, branch="main").numpy()
        probabilities = tf.nn.softmax(logits).numpy()
        results = {output: outputs[f"{name}/{output}"] for output in OUTPUTS}
        np.testing.assert_allclose(results["probabilities"], probabilities, atol=TOLERANCE)
        np.testing.assert_allclose(results["logits"], logits, atol=TOLERANCE * np.abs(logits).max())
        np.testing.assert_array_equal(results["classes"], np.argmax(results["logits"], -1))
        best = np.argsort(-results["probabilities"], axis=-1, kind="stable")[:, :5]
        np.testing.assert_array_equal(results["top_classes"], best)
        np.testing.assert_allclose(results["top_scores"], np.take_along_axis(probabilities, best, -1), atol=TOLERANCE)
        assert [[label.decode() for label in row] for row in results["top_labels"].tolist()] == [
            [NAMES[label] for label in row] for row in best
        ]
    assert (
        np.abs(tf.nn.softmax(trained(floats, branch="auxiliary")) - outputs["serving_default/probabilities"]).max()
        > 0.01
    )


def test_variables_are_exactly_those_of_a_main_only_network(exported):
    trained, folder = exported
    saved = stored_variables(folder)
    assert not [name for name in saved if "auxiliary" in name]
    # A dot in a key is written twice.
    paths = {name.split("/")[1].replace("..", "."): tuple(shape) for name, shape in saved.items()}
    main_only = new_network(trained.spec.name)
    assert paths == {path: tuple(variable.shape) for path, variable in main_only.weights_by_path().items()}
    assert set(paths) < set(trained.weights_by_path())


def test_one_and_two_trained_branches_export_to_the_same(export_of, tmp_path):
    _, of_two = export_of("efficientnet-b0")
    of_one, _ = export_network(served(trained_network("efficientnet-b0", ("main",))), "saved_model", str(tmp_path))
    assert stored_variables(of_one) == stored_variables(of_two)
    assert abs(bytes_of(of_two) / bytes_of(of_one) - 1) < 0.01


def test_the_description_is_beside_and_inside_the_saved_model(exported):
    trained, folder = exported
    description = json.loads((pathlib.Path(folder) / "export.json").read_text())
    assert json.loads(tf.saved_model.load(folder).description().numpy()) == description
    assert description["input_range"] == [0, 255]
    assert description["max_image_pixels"] == 2**26
    assert description["input_image_size"] == SIZE
    assert description["preprocessing"] == trained.spec.preprocessing
    assert description["parameters"] == new_network(trained.spec.name).count_params()
    card = (pathlib.Path(folder) / "model_card.md").read_text()
    assert card.startswith(f"# {trained.spec.name}\n")
    for text in ("| top1_main ", "50.00 %", "RGB in [0, 255], trained at 32 x 32 px", "serving_bytes", "main branch"):
        assert text in card
    assert (pathlib.Path(folder) / "assets" / "labels.txt").read_text().splitlines() == list(NAMES)


def test_fewer_than_five_classes_give_all_of_them(tmp_path):
    folder, _ = export_network(served(trained_network("resnet-50", num_classes=3)), "saved_model", str(tmp_path))
    outputs = tf.saved_model.load(folder).signatures["serving_default"](images=tf.constant(some_images()))
    assert outputs["top_labels"].shape == (6, 3)
    assert set(outputs["top_labels"].numpy()[0]) == {b"zero", b"one", b"two"}


def cut_jpeg() -> bytes:
    return encoded_images()[0][:300]


def large_bmp() -> bytes:
    return TINY_BMP[:18] + struct.pack("<ii", 10_000, 10_000) + TINY_BMP[26:]


@pytest.mark.parametrize(
    ("signature", "images", "message"),
    [
        ("serving_default", np.zeros((0, SIZE, SIZE, 3), np.float32), "images have shape .0"),
        ("serving_default", np.zeros((2, 0, SIZE, 3), np.float32), r"shape \[2 0 32 3\]: \[N, H, W, 3\]"),
        ("serving_uint8", np.zeros((0, SIZE, SIZE, 3), np.uint8), "images have shape .0"),
        ("features", np.zeros((0, SIZE, SIZE, 3), np.float32), "images have shape .0"),
        ("serving_bytes", np.zeros(0, object), "images have shape .0"),
        ("serving_default", np.zeros((SIZE, SIZE, 3), np.float32), r"shape \[32 32 3\]"),
        ("serving_default", np.zeros((1, SIZE, SIZE, 1), np.float32), r"shape \[1 32 32 1\]"),
        ("serving_default", np.zeros((1, SIZE, SIZE, 6), np.float32), r"shape \[1 32 32 6\]"),
        ("serving_bytes", [encoded_images()[:2]], r"shape \[1 2\]: \[N\]"),
        ("serving_default", np.zeros((1, SIZE, SIZE, 3), np.uint8), "uint8"),
        ("serving_uint8", np.zeros((1, SIZE, SIZE, 3), np.float32), "float"),
        ("serving_default", some_images() * np.nan, "element 0 of images holds NaN"),
        ("features", np.concatenate([some_images(2), some_images(1) - 500]), "element 2 .* far outside .0, 255."),
        ("serving_default", some_images() / 255, "no value of images is above 1: they look scaled"),
        ("serving_default", some_images() / 127.5 - 1, "no value of images is above 1"),
        ("serving_bytes", [*encoded_images()[:2], b"text"], "element 2 of images is not a JPEG, PNG, GIF or BMP"),
        ("serving_bytes", [b"", *encoded_images()], "element 0 of images is not a JPEG"),
        ("serving_bytes", [encoded_images()[0], cut_jpeg()], "element 1 of images is truncated"),
        ("serving_bytes", [encoded_images()[1][:200]], "element 0 of images is truncated"),
        ("serving_bytes", [TINY_BMP, TINY_BMP[:60]], "element 1 of images is damaged"),
        ("serving_bytes", [TINY_BMP, large_bmp()], "element 1 of images has more than 67108864 pixels"),
    ],
)
def test_invalid_input_is_refused(b0, signature, images, message):
    given = tf.constant(list(images), tf.string) if signature == "serving_bytes" else tf.constant(images)
    with pytest.raises((ValueError, TypeError, tf.errors.InvalidArgumentError), match=message):
        b0[1].signatures[signature](images=given)


def test_dark_images_and_the_overshoot_of_resizing_are_accepted(b0):
    trained, loaded = b0
    black = np.zeros((1, SIZE, SIZE, 3), np.float32)
    overshot = np.random.default_rng(0).uniform(-100, 350, (2, SIZE, SIZE, 3)).astype(np.float32)
    for images in (black, black + 1, overshot):
        answers = loaded.signatures["serving_default"](images=tf.constant(images))
        np.testing.assert_allclose(answers["probabilities"], tf.nn.softmax(trained(images)), atol=TOLERANCE)


def test_gradients_pass_through_a_signature(b0):
    """Attacks on a SavedModel need them."""
    trained, loaded = b0
    images = tf.constant(some_images(2))

    def gradient(logits_of):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(logits_of(images) ** 2)
        return tape.gradient(loss, images).numpy()

    expected = gradient(trained)
    actual = gradient(lambda images: loaded.signatures["serving_default"](images=images)["logits"])
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


@needs_imagenet_sample
def test_real_images_as_bytes_are_seen_as_in_evaluation(b0):
    """Whatever their sizes; among them the PNG that ImageNet has under a JPEG's name, if it is in the sample."""
    trained, loaded = b0
    paths = sorted(IMAGENET_SAMPLE.glob("*/*"))[::21]
    images = [path.read_bytes() for path in paths]
    pixels = tf.io.decode_image(images[0], channels=3)
    images += [tf.io.encode_png(pixels[:101, :77]).numpy(), tf.io.encode_png(pixels[:, :, :1]).numpy()]
    assert len(images) >= 50
    answers = loaded.signatures["serving_bytes"](images=tf.constant(images))
    seen = tf.stack([preprocess_eval(tf.constant(image), SIZE) for image in images])
    np.testing.assert_allclose(answers["probabilities"], tf.nn.softmax(trained(seen)), atol=TOLERANCE)


def read_warmup_requests(folder):
    """(signature, inputs by name) of each warm-up request in a SavedModel's folder."""
    requests = []
    for record in tf.data.TFRecordDataset(os.path.join(folder, WARMUP_FILE)):
        log = new_message("PredictionLog")
        log.ParseFromString(record.numpy())
        request = log.predict_log.request
        inputs = {}
        for entry in request.inputs:
            inputs[entry.key] = tf.make_ndarray(tensor_pb2.TensorProto.FromString(entry.value.SerializeToString()))
        requests.append((request.model_spec.signature_name, inputs))
    return requests


def test_warm_up_requests_can_be_replayed(exported):
    _, folder = exported
    signatures = tf.saved_model.load(folder).signatures
    requests = read_warmup_requests(folder)
    assert sorted(name for name, _ in requests) == sorted(signatures)
    for name, inputs in requests:
        inputs = {
            key: tf.constant(value, tf.string if value.dtype == object else None) for key, value in inputs.items()
        }
        assert signatures[name](**inputs)
    assert requests[0][1]["images"].shape == (1, SIZE, SIZE, 3)


def test_warm_up_requests_are_what_tensorflow_serving_reads(exported):
    """Parsed with its own messages, if they are installed."""
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    _, folder = exported
    records = [record.numpy() for record in tf.data.TFRecordDataset(os.path.join(folder, WARMUP_FILE))]
    for record, (signature, inputs) in zip(records, read_warmup_requests(folder), strict=True):
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert (request.model_spec.name, request.model_spec.signature_name) != ("", "")
        assert request.model_spec.signature_name == signature
        np.testing.assert_array_equal(tf.make_ndarray(request.inputs["images"]), inputs["images"])


def test_the_command_line_tool_of_tensorflow_shows_and_runs_it(export_of, tmp_path):
    trained, folder = export_of("efficientnet-b0")
    tool = [os.path.join(os.path.dirname(sys.executable), "saved_model_cli")]
    shown = subprocess.run([*tool, "show", "--dir", folder, "--all"], capture_output=True, text=True, check=True).stdout
    for text in ("serving_bytes", "inputs['images'] tensor_info:", "outputs['top_labels']", "shape: (-1, -1, -1, 3)"):
        assert text in shown
    np.save(tmp_path / "images.npy", some_images(2))
    run = ["run", "--dir", folder, "--tag_set", "serve", "--signature_def", "serving_default"]
    arguments = ["--inputs", f"images={tmp_path / 'images.npy'}", "--outdir", str(tmp_path)]
    subprocess.run([*tool, *run, *arguments], capture_output=True, text=True, check=True)
    expected = tf.nn.softmax(trained(some_images(2)))
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=TOLERANCE)


def test_an_auxiliary_variable_fails_the_export(tmp_path, monkeypatch):
    trained = trained_network("efficientnet-b0")

    class Leaky(ServingModule):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.leaked = trained.branch_variables("auxiliary")

    monkeypatch.setattr(saved_model, "ServingModule", Leaky)
    with pytest.raises(ExportError, match="variables instead of the network's"):
        export_network(served(trained), "saved_model", str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_other_probabilities_fail_the_export_and_leave_nothing(tmp_path):
    trained = trained_network("efficientnet-b0")
    ready = served(trained)
    ready.model.classifier.bias.assign_add(np.arange(10) / 5)
    with pytest.raises(ExportError, match="probabilities of serving_default differ by"):
        export_network(ready, "saved_model", str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_versions_count_up_past_other_folders(tmp_path):
    for name in ("3", ".unfinished-1", "notes"):
        (tmp_path / name).mkdir()
    with new_version(str(tmp_path)) as (_, version):
        pass
    assert version == str(tmp_path / "4")
    assert (tmp_path / "4").is_dir()


WRITE_AND_WAIT = """
import sys, time
from efficientnet_advprop.export.versions import new_version
with new_version(sys.argv[1]) as (folder, _):
    open(folder + "/saved_model.pb", "w").close()
    time.sleep(60)
"""


def test_an_export_killed_half_way_leaves_no_number(tmp_path):
    """TensorFlow Serving would load a folder named by a number. The next export removes what is left."""
    process = subprocess.Popen([sys.executable, "-c", WRITE_AND_WAIT, str(tmp_path)])
    while not list(tmp_path.glob("*/saved_model.pb")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert {path.name for path in tmp_path.iterdir()} == {locks.LOCK_FILE, f".unfinished-{process.pid}"}
    with new_version(str(tmp_path)):
        pass
    assert os.listdir(tmp_path) == ["1"]


def test_export_from_replicas_averages_their_statistics(tmp_path, two_replicas, two_blocks):
    state = new_state(small_recipe(network__input_image_size=SIZE), two_replicas)
    model = build_model(small_recipe(network__input_image_size=SIZE).network, 10)
    folder, _ = export_network(served(state.average_model, model), "saved_model", str(tmp_path))
    images = some_images(2)
    probabilities = tf.saved_model.load(folder).signatures["serving_default"](images=tf.constant(images))
    expected = tf.nn.softmax(state.average_model(images, branch="main"))
    np.testing.assert_allclose(probabilities["probabilities"], expected, atol=TOLERANCE)
