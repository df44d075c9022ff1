"""A table of the networks: parameters, multiply-adds and layers, counted from the networks themselves.

    python -m benchmarks.model_table --markdown=docs/models.md

Each network is built, and its inference traced at its image size, but not run. EfficientNet-L2 takes 2 GB, and the
whole table some minutes.
"""

import dataclasses
import os
from collections.abc import Iterable

import tabulate
import tensorflow as tf
from absl import app, flags as absl_flags

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models import build_model
from efficientnet_advprop.models.counting import multiply_adds
from efficientnet_advprop.recipes import NETWORKS, family_of

# Without those of tf.keras.applications, whose numbers Keras publishes.
OUR_NETWORKS = [name for name in NETWORKS if not family_of(name).of_keras]

_HEADER = """\
## Networks

`python -m benchmarks.model_table --markdown=docs/models.md`

EfficientNets follow the official tables: sizes, initialisers, batch-norm constants, stochastic depth. ResNets are v1.5
and padded as torchvision's.

With 1000 classes and only the main branch. Parameters are the trainable ones. An auxiliary branch adds one gamma and
one beta per batch norm and channel. Multiply-adds are those of convolutions and classifier for one image of the given
size. Other counts include two operations for each value that passes a batch norm: 63.5 G for B8 and 4.11 G for
ResNet-50. No result of AdvProp with a ResNeXt was published. The paper's talk compares B8 to a ResNeXt-101 32x48d of
85.4 % top-1 (Mahajan et al., arXiv 1805.00932). That one was trained on 940 million images of Instagram with their
hashtags before ImageNet, so this is not what training on ImageNet alone gives.

TensorFlow has no gradients of grouped convolutions on a CPU: there those of ResNeXts are computed group by group, and a
run says so. On GPUs and TPUs, and under XLA, they are one operation. XLA's code for them is over 100 times slower on a
CPU, so leave --jit_compile off there.
"""

_MARKDOWN = absl_flags.DEFINE_string("markdown", None, "Markdown file whose section Networks is replaced.")


@dataclasses.dataclass(frozen=True)
class ModelNumbers:
    """Numbers of a network with 1000 classes and only the main branch.

    Attributes:
        name: of the network.
        image_size: side of its input, in pixels.
        blocks: number of inverted or residual bottlenecks.
        parameters: number of trainable parameters, without moving statistics.
        multiply_adds: of convolutions and classifier for one image. As in published counts, batch norms (folded into
            the convolutions at inference), activations and pooling are not counted.
        batch_norms: number of batch-norm layers.
        branch_parameters: trainable parameters that an auxiliary branch adds: its gammas and betas.
        preprocessing: normalisation of its input when it is new; given weights bring their own.
    """

    name: str
    image_size: int
    blocks: int
    parameters: int
    multiply_adds: int
    batch_norms: int
    branch_parameters: int
    preprocessing: str


def numbers(name: str) -> ModelNumbers:
    """Build a network and count its parameters, multiply-adds and layers.

    Raises:
        RecipeError: for an unknown name.
    """
    model = build_model(name)
    spec = model.spec
    branch = [variable for variable in model.branch_variables("main") if variable.trainable]
    return ModelNumbers(
        name,
        spec.input_image_size,
        len(model.blocks),
        _elements(model.trainable_variables),
        sum(multiply_adds(model, spec.input_image_size).values()),
        sum(isinstance(module, AuxBatchNormalization) for module in model.submodules),
        _elements(branch),
        spec.preprocessing,
    )


def _elements(variables: Iterable[tf.Variable]) -> int:
    return sum(variable.shape.num_elements() for variable in variables)


def report(rows: Iterable[ModelNumbers]) -> str:
    """A Markdown table with a row per network."""
    columns = (
        "network",
        "image px",
        "blocks",
        "parameters",
        "multiply-adds",
        "BN layers",
        "one auxiliary branch",
        "preprocessing if new",
    )
    cells = [
        (
            row.name,
            row.image_size,
            row.blocks,
            f"{row.parameters:,}",
            f"{row.multiply_adds / 1e9:.2f} G",
            row.batch_norms,
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
    for name in OUR_NETWORKS:
        rows.append(numbers(name))
        print(rows[-1], flush=True)
        tf.keras.backend.clear_session()
    text = report(rows)
    print(text)
    if _MARKDOWN.value:
        write_page(_MARKDOWN.value, f"{_HEADER}\n{text}\n")


def write_page(path: str, text: str) -> None:
    """Write a section in place of the one of its heading; what stands around it in the file stays."""
    before, after = "", ""
    if os.path.exists(path):
        with open(path) as file:
            before, _, rest = file.read().partition(text.partition("\n")[0] + "\n")
        _, found, after = rest.partition("\n## ")
        after = found + after
    with open(path, "w") as file:
        file.write(before + text + after)


if __name__ == "__main__":
    app.run(main)
