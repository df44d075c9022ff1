"""Every Python block of the README and of docs/, run page by page in the order of the page."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.data import preprocess_eval
from efficientnet_advprop.export import export_network
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.weights.official import official_names
from tests.exports import SIZE, served, trained_network
from tests.official_checkpoint import tensors_of_averages, write_tf1
from tests.small import values
from tests.timm_files import advprop_config, tensors_of, write

tensorflow_hub = pytest.importorskip("tensorflow_hub")
for package in ("onnxruntime", "tf2onnx"):
    pytest.importorskip(package)

ROOT = Path(__file__).parents[1]
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if "```python" in page.read_text()
]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with what the pages' commands have made before their Python blocks."""
    folder = tmp_path_factory.mktemp("files")
    network = trained_network("efficientnet-b0")
    export_network(served(network), "saved_model", str(folder / "runs/demo/saved_model"))
    for export_format in ("hub", "onnx", "tflite"):
        export_network(served(network), export_format, str(folder / "exports/b7"))
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    (folder / "cat.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())
    (folder / "7.png").write_bytes(tf.io.encode_png(image).numpy())
    model = build_model("efficientnet-b0", preprocessing="advprop")
    averages = {name: values(model)[path] for path, name in official_names(model).items()}
    write_tf1(folder / "advprop/efficientnet-b0", tensors_of_averages(averages))
    write(folder / "tf_efficientnet_b0.ap_in1k", tensors_of(model), advprop_config(model))
    return folder


def names_before(page: Path) -> dict[str, object]:
    """What a block of the page may use without having made it."""
    rng = np.random.default_rng(0)
    names = {"tf": tf, "labels": rng.integers(0, 10, 64)}
    if page.name == "README.md":
        return {"images": rng.uniform(0, 255, (64, 32, 32, 3)).astype(np.float32), "labels": names["labels"]}
    if page.name == "serving.md":
        return {**names, "hub": tensorflow_hub}
    return {**names, "images": rng.uniform(0, 255, (64, SIZE, SIZE, 3)).astype(np.float32)}


def check_readme(names: dict[str, object]) -> None:
    loaded = tf.keras.models.load_model("model.keras")
    np.testing.assert_array_equal(loaded(names["images"]), names["network"](names["images"]))


def check_getting_started(names: dict[str, object]) -> None:
    answers = names["signatures"]["serving_default"](images=tf.constant(names["images"], tf.float32))
    np.testing.assert_allclose(tf.reduce_sum(answers["probabilities"], -1), np.ones(64), atol=1e-5)


def check_library(names: dict[str, object]) -> None:
    assert tf.keras.models.load_model("auxiliary.keras").output_shape == (None, 10)
    assert np.abs(names["attacked"] - names["images"] / 255).max() <= 4 / 255 + 1e-6
    np.testing.assert_allclose(names["folded"](names["attacked"]), names["model"](names["attacked"]), atol=1e-5)
    assert type(names["plain"].layers[-1]) is tf.keras.layers.BatchNormalization
    assert names["finetuned"].predict(names["images"] / 255, verbose=0).shape == (64, 5)


def check_models(names: dict[str, object]) -> None:
    assert names["logits"].shape == (64, 1000)
    assert "auxiliary branch: starts from the main branch's values" in names["notes"][0]


def check_serving(names: dict[str, object]) -> None:
    assert names["model"](tf.zeros([2, SIZE, SIZE, 3])).shape == (2, 5)
    image = Path("cat.jpg").read_bytes()
    np.testing.assert_array_equal(names["evaluation_crop"](image, SIZE), preprocess_eval(tf.constant(image), SIZE))
    expected = names["loaded"].signatures["serving_bytes"](images=tf.constant([image]))["probabilities"]
    np.testing.assert_allclose(names["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(names["lite_probabilities"], expected, atol=0.005)


CHECKS = {
    "README.md": check_readme,
    "getting_started.md": check_getting_started,
    "library.md": check_library,
    "models.md": check_models,
    "serving.md": check_serving,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.filterwarnings(
    "ignore:.*batch norms of momentum:UserWarning",
    "ignore:unclosed file:ResourceWarning",
    r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning",
)
def test_the_blocks_of_a_page_run(page, files, monkeypatch):
    monkeypatch.chdir(files)
    names = names_before(page)
    before = set(names)
    for block in blocks(page):
        exec(compile(block, f"{page.name}: {block.splitlines()[0]}", "exec"), names)
    assert set(names) > before  # they have run
    CHECKS[page.name](names)
