"""ResNeXts: sizes, grouped convolutions and their gradients on a CPU, training, remat, exports."""

import json

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.export import export_network
from efficientnet_advprop.models import ResNet, build_model, grouped
from efficientnet_advprop.models.counting import multiply_adds
from efficientnet_advprop.models.grouped import grouped_conv2d
from efficientnet_advprop.models.layers import ConvNorm, gradients_are_by_group
from efficientnet_advprop.models.resnet import _ARCHITECTURES, bottleneck_specs
from tests.command_line import run
from tests.exports import served, some_images, trained_network
from tests.small import (
    SEED,
    assert_equal_values,
    copy_weights,
    kept_by_estimate,
    kept_bytes,
    loss_gradients,
    randomize_norms,
    values,
)

TWO = ("main", "auxiliary")
SYMMETRIC = [[0, 0], [1, 1], [1, 1], [0, 0]]

# Trainable parameters with 1000 classes: torchvision's, and PyTorch Hub's of Mahajan et al.'s weights.
PARAMETERS = {
    "resnext-50-32x4d": 25_028_904,
    "resnext-101-32x8d": 88_791_336,
    "resnext-101-32x16d": 194_026_792,
    "resnext-101-32x32d": 468_530_472,
    "resnext-101-32x48d": 828_411_176,
}


def small_resnext(branches=TWO, **options) -> ResNet:
    """A ResNeXt of five bottlenecks of 32 to 128 channels in 32 groups, with ten classes."""
    tf.keras.utils.set_random_seed(0)
    small = {"width_coefficient": 0.25, "depth_coefficient": 0.2, "input_image_size": 32}
    model = build_model("resnext-50-32x4d", 10, branches, **(small | options))
    randomize_norms(model)
    return model


def parameters_by_shape(name: str) -> int:
    """Kernels, gammas and betas of the bottlenecks' shapes, without a network."""

    def unit(kernel_size, channels, filters):
        return kernel_size**2 * channels * filters + 2 * filters

    total = unit(7, 3, 64)
    for spec in bottleneck_specs(_ARCHITECTURES[name], 1.0, 1.0):
        total += unit(1, spec.input_filters, spec.width) + unit(1, spec.width, spec.output_filters)
        total += unit(3, spec.width // spec.groups, spec.width)
        if spec.strides != 1 or spec.input_filters != spec.output_filters:
            total += unit(1, spec.input_filters, spec.output_filters)
    return total + 2048 * 1000 + 1000


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_by_shape(name):
    assert parameters_by_shape(name) == PARAMETERS[name]


def test_the_network_has_these_parameters_and_the_published_multiply_adds():
    model = build_model("resnext-50-32x4d")
    assert sum(v.shape.num_elements() for v in model.trainable_variables) == PARAMETERS["resnext-50-32x4d"]
    counted = multiply_adds(model, 224)
    assert sum(counted.values()) == pytest.approx(4.23e9, abs=0.005e9)  # torchvision's
    assert model.blocks[0].filter.kernel.shape == (3, 3, 4, 128)
    assert model.blocks[0].filter.kernel.numpy().std() == pytest.approx(np.sqrt(2 / (9 * 128)), rel=0.05)


def numpy_grouped(inputs: np.ndarray, kernel: np.ndarray, groups: int, strides: int) -> np.ndarray:
    """A 3x3 grouped convolution, padded by one pixel on each side, as a sum over places of the kernel."""
    padded = np.pad(inputs.astype(np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)])
    size, filters = -(-inputs.shape[1] // strides), kernel.shape[3] // groups
    outputs = np.zeros([len(inputs), size, size, kernel.shape[3]])
    for group in range(groups):
        ins = slice(group * kernel.shape[2], (group + 1) * kernel.shape[2])
        outs = slice(group * filters, (group + 1) * filters)
        for row in range(3):
            for column in range(3):
                window = padded[:, row:, column:, ins][:, ::strides, ::strides][:, :size, :size]
                outputs[..., outs] += window @ kernel[row, column, :, outs].astype(np.float64)
    return outputs


@pytest.mark.parametrize("run", ["eager", "graph", "xla"])
@pytest.mark.parametrize(("strides", "padding"), [(1, "SAME"), (2, SYMMETRIC)])
def test_a_grouped_convolution_and_its_gradients(run, strides, padding):
    """The output is linear in inputs and kernel, so sums of outputs show the gradients exactly."""
    rng = np.random.default_rng(0)
    groups, inputs, kernel = 4, rng.normal(size=[2, 8, 8, 12]), rng.normal(size=[3, 3, 3, 8])
    inputs, kernel = inputs.astype(np.float32), kernel.astype(np.float32)
    expected = numpy_grouped(inputs, kernel, groups, strides)
    upstream = rng.normal(size=expected.shape).astype(np.float32)

    def gradients(inputs, kernel):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = grouped_conv2d(inputs, kernel, strides, padding)
            loss = tf.reduce_sum(outputs * upstream)
        return outputs, tape.gradient(loss, (inputs, kernel))

    compute = gradients if run == "eager" else tf.function(gradients, jit_compile=run == "xla")
    outputs, (of_inputs, of_kernel) = compute(tf.constant(inputs), tf.constant(kernel))
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    for gradient, tensor, at in ((of_inputs, inputs, "inputs"), (of_kernel, kernel, "kernel")):
        for _ in range(3):
            move = rng.normal(size=tensor.shape)
            pair = (move, kernel) if at == "inputs" else (inputs, move)
            slope = np.sum(numpy_grouped(*pair, groups, strides) * upstream)
            assert np.sum(gradient * move) == pytest.approx(slope, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_the_gradients_in_16_bits(dtype):
    inputs = tf.random.stateless_normal([2, 8, 8, 12], SEED)
    kernel = tf.random.stateless_normal([3, 3, 3, 8], SEED) / 8

    def gradients(dtype):
        pair = tf.cast(inputs, dtype), tf.cast(kernel, dtype)
        with tf.GradientTape() as tape:
            tape.watch(pair)
            loss = tf.reduce_sum(tf.cast(grouped_conv2d(*pair, 2, SYMMETRIC), tf.float32) ** 2)
        return tape.gradient(loss, pair)

    for ours, exact in zip(gradients(dtype), gradients(tf.float32), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(tf.cast(ours, tf.float32), exact, atol=0.02 * np.abs(exact).max())


def backward_operations(jit_compile: bool) -> list[int]:
    """The output channels of each gradient of a kernel in a traced step."""

    def gradient(inputs, kernel):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            outputs = grouped_conv2d(inputs, kernel, 1, "SAME")
        return tape.gradient(outputs, kernel)

    specs = tf.TensorSpec([2, 8, 8, 12]), tf.TensorSpec([3, 3, 3, 8])
    graph = tf.function(gradient, jit_compile=jit_compile).get_concrete_function(*specs).graph
    found = [operation for operation in graph.get_operations() if operation.type == "Conv2DBackpropFilter"]
    return [operation.inputs[2].shape[-1] for operation in found]


def test_the_gradient_is_one_operation_where_tensorflow_has_it(monkeypatch):
    """So it is for a TPU, whose steps are traced on a CPU too, and on GPUs."""
    assert backward_operations(jit_compile=True) == [8]
    assert backward_operations(jit_compile=False) == [2] * 4
    network = small_resnext()
    assert gradients_are_by_group(network)
    assert not gradients_are_by_group(build_model("resnet-50", width_coefficient=0.125, depth_coefficient=0.2))
    devices = tf.config.list_logical_devices
    monkeypatch.setattr(
        grouped.tf.config, "list_logical_devices", lambda kind=None: ["a GPU"] if kind == "GPU" else devices(kind)
    )
    assert backward_operations(jit_compile=False) == [8]
    assert not gradients_are_by_group(network)


@pytest.mark.parametrize("strides", [1, 2])
def test_folded_batch_norm_equals_the_unfolded_one(strides):
    layer = ConvNorm(8, 3, strides, None, {"branches": TWO}, symmetric_padding=True, groups=4)
    inputs = tf.random.stateless_normal([2, 8, 8, 12], SEED)
    layer.build(inputs.shape)
    rng = np.random.default_rng(1)
    for variable in layer.norm.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    convolved = numpy_grouped(inputs.numpy(), layer.kernel.numpy(), 4, strides).astype(np.float32)
    expected = layer.norm(convolved, branch="auxiliary", statistics="running")
    np.testing.assert_allclose(layer(inputs, branch="auxiliary"), expected, rtol=1e-4, atol=1e-5)


def test_bottlenecks_have_torchvisions_widths():
    widths = [spec.width for spec in bottleneck_specs(_ARCHITECTURES["resnext-101-32x48d"], 1.0, 1.0)]
    assert sorted(set(widths)) == [1536, 3072, 6144, 12288]
    narrow = small_resnext()
    assert [block.spec.width for block in narrow.blocks] == [32, 64, 128, 128, 256]
    assert {block.filter.kernel.shape[-1] // block.filter.kernel.shape[-2] for block in narrow.blocks} == {32}


def test_remat_changes_neither_gradients_nor_statistics():
    images = tf.constant(some_images(4))
    plain, remat = small_resnext(), small_resnext(remat=True)
    copy_weights(plain, remat)
    expected, gradients = (loss_gradients(model, images, "update") for model in (plain, remat))
    scale = max(np.abs(gradient).max() for gradient in expected)
    for ours, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * scale)
    assert_equal_values(values(remat), values(plain), rtol=1e-5, atol=1e-6)


def test_advprop_trains_it_from_the_command_line(tmp_path, capsys):
    sizes = ("--width_coefficient=0.125", "--depth_coefficient=0.1", "--input_image_size=16")
    steps = ("--train_batch_size=8", "--train_steps=1", "--iterations_per_loop=1", "--attack_steps=1")
    out, _ = run(
        "--model=resnext-50-32x4d",
        "--advprop",
        "--mode=train",
        f"--model_dir={tmp_path}",
        *sizes,
        *steps,
        capsys=capsys,
    )
    assert out.count("group by group") == 1
    *_, last = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert all(np.isfinite(last[f"loss/{term}"]) for term in ("clean", "adversarial"))


def test_activation_bytes_is_what_a_traced_step_keeps():
    model = build_model("resnext-50-32x4d")
    assert kept_by_estimate(model, 4, 224) == pytest.approx(kept_bytes(model, 4, 224), rel=0.02)


def test_its_saved_model_computes_by_grouped_operations(tmp_path):
    trained = trained_network("resnext-50-32x4d")
    folder, _ = export_network(served(trained), "saved_model", str(tmp_path))
    loaded = tf.saved_model.load(folder)
    function = loaded.signatures["serving_default"]
    nodes = [node for called in function.graph.as_graph_def().library.function for node in called.node_def]
    convolutions = sum(isinstance(module, ConvNorm) for module in trained.submodules)
    assert sum(node.op == "Conv2D" for node in nodes) == convolutions
    probabilities = function(images=tf.constant(some_images()))["probabilities"]
    np.testing.assert_allclose(probabilities, tf.nn.softmax(trained(some_images())), atol=1e-5)


def test_its_hub_module_can_be_trained_on_a_cpu(tmp_path):
    """The gradients are saved with the module."""
    hub = pytest.importorskip("tensorflow_hub")
    folder, _ = export_network(served(trained_network("resnext-50-32x4d")), "hub", str(tmp_path))
    module = hub.load(f"{folder}/feature_vector")
    for training in (False, True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(module(tf.constant(some_images(2) / 255), training=training) ** 2)
        gradients = tape.gradient(loss, module.trainable_variables)
        assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_other_runtimes_compute_it(kind, tmp_path):
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("tf2onnx")
    _, rows = export_network(served(trained_network("resnext-50-32x4d")), kind, str(tmp_path))
    assert rows[1]["top1_agreement"] == 1
    assert rows[1]["largest_probability_difference"] < 0.005
