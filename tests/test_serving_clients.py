"""The example clients against servers that speak TensorFlow Serving's interfaces and run an exported SavedModel."""

import base64
import http.server
import json
import re
import shutil
import subprocess
import threading
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data import preprocess_eval
from efficientnet_advprop.export import export_network
from examples import rest_client
from tests.command_line import ROOT
from tests.exports import NAMES, SIZE, served, trained_network


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(trained network, loaded SavedModel)."""
    trained = trained_network("efficientnet-b0")
    folder, _ = export_network(served(trained), "saved_model", str(tmp_path_factory.mktemp("saved_model")))
    return trained, tf.saved_model.load(folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two images and a file of text."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    (folder / "a.png").write_bytes(tf.io.encode_png(rng.integers(0, 256, (40, 50, 3), np.uint8)).numpy())
    (folder / "b.jpg").write_bytes(tf.io.encode_jpeg(rng.integers(0, 256, (33, 37, 3), np.uint8)).numpy())
    (folder / "text.jpg").write_text("text")
    return folder


@pytest.fixture
def rest_server(model):
    """HOST:PORT of TensorFlow Serving's REST interface, as its documentation describes it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/models/advprop:predict"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            images = [base64.b64decode(instance["images"]["b64"]) for instance in body["instances"]]
            try:
                outputs = model[1].signatures[body["signature_name"]](images=tf.constant(images))
            except tf.errors.InvalidArgumentError as error:
                return self.answer(400, {"error": error.message})
            rows = {
                name: np.char.decode(value.numpy().astype(bytes)).tolist()
                if value.dtype == tf.string
                else value.numpy().tolist()
                for name, value in outputs.items()
            }
            predictions = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
            return self.answer(200, {"predictions": predictions})

        def answer(self, code, body):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    yield f"localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def grpc_server(model):
    """HOST:PORT of TensorFlow Serving's gRPC interface."""
    grpc = pytest.importorskip("grpc")
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
            try:
                outputs = model[1].signatures[request.model_spec.signature_name](**inputs)
            except tf.errors.InvalidArgumentError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            response = predict_pb2.PredictResponse()
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy(), value.dtype, value.shape))
            return response

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait()


def expected_lines(trained, paths):
    images = tf.stack([preprocess_eval(tf.io.read_file(str(path)), SIZE) for path in paths])
    for path, probabilities in zip(paths, tf.nn.softmax(trained(images)).numpy(), strict=True):
        best = np.argsort(-probabilities)[:5]
        yield f"{path}: " + ", ".join(f"{NAMES[label]} {100 * probabilities[label]:.1f} %" for label in best)


def assert_answers_and_refuses(client, server, trained, images, capsys):
    """A client prints the network's most likely classes, or names the image or file that failed."""
    paths = [images / "a.png", images / "b.jpg"]
    client.main([f"--server={server}", *map(str, paths)])
    assert capsys.readouterr().out.splitlines() == list(expected_lines(trained, paths))
    with pytest.raises(SystemExit, match="element 1 of images is not a JPEG, PNG, GIF or BMP"):
        client.main([f"--server={server}", str(paths[0]), str(images / "text.jpg")])
    with pytest.raises(SystemExit, match=r"error: .*no_such_file"):
        client.main([f"--server={server}", str(images / "no_such_file")])


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_as_the_page_says_sends_a_large_image(model, rest_server, tmp_path):
    """One argument of a program takes 128 KiB on Linux."""
    command = re.search(r"^printf .*?-d @-$", (ROOT / "docs/serving.md").read_text(), re.DOTALL | re.MULTILINE)[0]
    image = tf.io.encode_jpeg(np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)).numpy()
    assert len(image) > 2**17
    (tmp_path / "cat.jpg").write_bytes(image)
    command = command.replace("curl localhost:8501", f"curl --silent --noproxy '*' {rest_server}")
    answer = subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    (prediction,) = json.loads(answer)["predictions"]
    expected = model[1].signatures["serving_bytes"](images=tf.constant([image]))
    np.testing.assert_allclose(prediction["logits"], expected["logits"][0], rtol=1e-5)


def test_rest_client(model, rest_server, images, capsys):
    assert_answers_and_refuses(rest_client, rest_server, model[0], images, capsys)
    with pytest.raises(SystemExit, match="no response from localhost:1"):
        rest_client.main(["--server=localhost:1", str(images / "a.png")])


def test_grpc_client(model, grpc_server, images, capsys):
    from examples import grpc_client

    assert_answers_and_refuses(grpc_client, grpc_server, model[0], images, capsys)
    with pytest.raises(SystemExit, match="error: failed to connect to all addresses"):
        grpc_client.main(["--server=localhost:1", str(images / "a.png")])
