"""The networks in numbers, counted from the networks themselves.

    python -m benchmarks.model_table --markdown=docs/models.md

A network is built and its inference traced at its own image size; nothing is computed. EfficientNet-L2 takes 2 GB and
the whole table some minutes.
"""

import dataclasses
import math
from collections.abc import Iterable

import tabulate
import tensorflow as tf
from absl import app
from absl import flags as absl_flags

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models import Network, build_model
from efficientnet_advprop.recipes import NETWORKS

_HEADER = """\
# The networks in numbers

`python -m benchmarks.model_table --markdown=docs/models.md`

With 1000 classes and the main branch alone. Parameters are those that are trained; an auxiliary branch is the gamma and
beta of every batch norm once more. Multiply-adds are those of the convolutions and the classifier for one image of
the given side; counts that take two more for every value that passes a batch norm come to 63.5 G for B8 and 4.11 G for
ResNet-50.
"""

_MARKDOWN = absl_flags.DEFINE_string("markdown", None, "Markdown file to write the table to.")


@dataclasses.dataclass(frozen=True)
class ModelNumbers:
    """One network with 1000 classes and the main branch alone.

    Attributes:
        name: of the network.
        image_size: side of its input, in pixels.
        blocks: inverted or residual bottlenecks.
        parameters: trainable ones; moving statistics are none.
        multiply_adds: of convolutions and classifier for one image; batch norms, which inference folds into the
            convolutions, activations and pools are left out, as in published counts.
        norms: batch-norm layers.
        branch_parameters: gamma and beta of one branch: what an auxiliary branch adds to train.
        preprocessing: of its pixels.
    """

    name: str
    image_size: int
    blocks: int
    parameters: int
    multiply_adds: int
    norms: int
    branch_parameters: int
    preprocessing: str


def numbers(name: str) -> ModelNumbers:
    """Build a network and count.

    Raises:
        RecipeError: for an unknown name.
    """
    model = build_model(name)
    network = model.spec
    trained = [variable for variable in model.branch_variables("main") if variable.trainable]
    return ModelNumbers(
        name,
        network.input_image_size,
        len(model.blocks),
        _elements(model.trainable_variables),
        multiply_adds(model, network.input_image_size),
        sum(isinstance(module, AuxBatchNormalization) for module in model.submodules),
        _elements(trained),
        network.preprocessing,
    )


def multiply_adds(model: Network, image_size: int) -> int:
    """Multiplications (each with an addition) of inference on one image of this side, in pixels."""
    image = tf.TensorSpec([1, image_size, image_size, 3])
    graph = tf.function(model).get_concrete_function(image).graph
    return sum(_multiply_adds(operation) for operation in graph.get_operations())


def _multiply_adds(operation: tf.Operation) -> int:
    """Values of the result times the products that each is a sum of."""
    if operation.type not in ("Conv2D", "DepthwiseConv2dNative", "MatMul"):
        return 0
    kernel = operation.inputs[1].shape.as_list()  # [h, w, C, filters], [h, w, C, multiplier] or [C, classes]
    # A depthwise convolution sums over each channel by itself.
    summed = kernel[:2] if operation.type == "DepthwiseConv2dNative" else kernel[:-1]
    return operation.outputs[0].shape.num_elements() * math.prod(summed)


def _elements(variables: Iterable[tf.Variable]) -> int:
    return sum(variable.shape.num_elements() for variable in variables)


def report(rows: Iterable[ModelNumbers]) -> str:
    """Markdown: a row per network."""
    columns = (
        "network",
        "image px",
        "blocks",
        "parameters",
        "multiply-adds",
        "BN layers",
        "one auxiliary branch",
        "default preprocessing",
    )
    cells = [
        (
            row.name,
            row.image_size,
            row.blocks,
            f"{row.parameters:,}",
            f"{row.multiply_adds / 1e9:.2f} G",
            row.norms,
            f"{row.branch_parameters:,}",
            row.preprocessing,
        )
        for row in rows
    ]
    alignment = ("left", *("right",) * 6, "left")
    return tabulate.tabulate(cells, columns, "github", disable_numparse=True, colalign=alignment)


def main(argv: list[str]) -> None:
    """Count and report."""
    del argv
    rows = []
    for name in NETWORKS:
        rows.append(numbers(name))
        print(rows[-1], flush=True)
        tf.keras.backend.clear_session()
    text = report(rows)
    print(text)
    if _MARKDOWN.value:
        with open(_MARKDOWN.value, "w") as file:
            file.write(f"{_HEADER}\n{text}\n")


if __name__ == "__main__":
    app.run(main)
