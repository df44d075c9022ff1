"""The description of an exported network: `export.json` for programs, a model card for people."""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Annotated, Any

import tabulate

from efficientnet_advprop.recipes import COUNT, MAIN_BRANCH, SIZE_PX, Bounded, Bounds, from_values, json_values

DESCRIPTION_FILE = "export.json"
CARD_FILE = "model_card.md"
_LABELS_SHOWN = 10
_NOT_KNOWN = "not known"
_PIXELS_DO = {
    "advprop": "x * 2 / 255 - 1, inside the network",
    "imagenet": "ImageNet's mean and standard deviation, inside the network",
    "keras": "that of this network in tf.keras.applications, inside the network",
}
_CROPS = {
    "pad32": "central square of size / (size + 32) of the short side",
    "0.875": "central square of 0.875 of the short side",
    "none": "the whole image",
}
_RESIZES = {"bicubic": "TF1's bicubic", "bilinear": "bilinear, antialiased, as PIL's"}


@dataclasses.dataclass(frozen=True)
class Description(Bounded):
    """The description of an exported network.

    Attributes:
        model: name of the network.
        scheme: training scheme; None if unknown.
        dataset: the training data; None if unknown.
        preprocessing: normalisation inside the network, as `NetworkSpec.preprocessing`.
        input_image_size: side of the images in evaluation, in pixels. Other sizes work, with lower accuracy.
        eval_crop: as `DataSpec.eval_crop`.
        resize: as `DataSpec.resize`.
        branch: the exported branch.
        weights: "averaged" or "raw", and their origin.
        step: number of training steps; None if unknown.
        metrics: results of evaluations of these weights, by name; may be empty.
        parameters: number of parameters, moving statistics included.
        commit: of the code that exported; None if unknown.
        class_names: in label order.
        input_range: of the images that the exported functions take.
        checkpoint: digest of the checkpoint that held the weights; None where unknown.
        max_image_pixels: of an encoded image; `serving_bytes` refuses larger ones. None: no bound, as in older exports.
    """

    model: str
    scheme: str | None
    dataset: str | None
    preprocessing: str
    input_image_size: Annotated[int, SIZE_PX]
    eval_crop: str
    resize: str
    branch: str
    weights: str
    step: Annotated[int | None, COUNT]
    metrics: dict[str, float]
    parameters: Annotated[int, COUNT]
    commit: str | None
    class_names: tuple[str, ...]
    input_range: Annotated[tuple[int, int], Bounds("[0, 255]")] = (0, 255)
    checkpoint: str | None = None
    max_image_pixels: Annotated[int | None, COUNT] = None

    def to_json(self) -> str:
        """The description as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Description":
        """Read what `to_json` wrote.

        Raises:
            RecipeError: for other text; the message names the field.
        """
        return from_values(cls, json_values(text))

    def facts(self) -> list[tuple[str, Any]]:
        """(property, value), the rows of the model card's table."""
        low, high = self.input_range
        more = ["..."] if len(self.class_names) > _LABELS_SHOWN else []
        shown = ", ".join([*self.class_names[:_LABELS_SHOWN], *more])
        return [
            ("network", self.model),
            ("parameters", f"{self.parameters:,}, moving statistics included"),
            ("training scheme", self.scheme or _NOT_KNOWN),
            ("data", self.dataset or _NOT_KNOWN),
            ("weights", self.weights),
            ("step", _NOT_KNOWN if self.step is None else self.step),
            ("batch norms", f"of the {self.branch} branch{'' if self.branch == MAIN_BRANCH else ', NOT the main one'}"),
            ("images", f"RGB in [{low}, {high}], trained at {self.input_image_size} x {self.input_image_size} px"),
            ("preprocessing", f"{self.preprocessing}: {_PIXELS_DO[self.preprocessing]}"),
            ("crop and resizing in evaluation", f"{_CROPS[self.eval_crop]}; {_RESIZES[self.resize]}"),
            ("classes", f"{len(self.class_names)}: {shown}"),
            ("code commit", self.commit or _NOT_KNOWN),
        ]


def model_card(description: Description, interface: str, heading: str = "#") -> str:
    """Markdown text: the network's properties, interface, results and limits.

    Args:
        description: of the network.
        interface: Markdown text about the exported functions.
        heading: Markdown prefix of the highest heading.
    """
    results = "No evaluation of these weights is recorded."
    if description.metrics:
        rows = [
            (name, f"{100 * value:.2f} %" if name.startswith("top") else f"{value:.4g}")
            for name, value in description.metrics.items()
        ]
        results = _table(rows, ("on the evaluation images", "result"))
    return f"""{heading} {description.model}

{_table(description.facts(), ("property", "value"))}

{heading}# Interface

{interface}

{heading}# Results

{results}

`top1_main` and `top5_main` are accuracies of the main branch, `top1_auxiliary` of the auxiliary branch. `top1_pgd` is
the accuracy under an L-infinity PGD attack with an epsilon of 4 px of 255 and 10 steps of 1 px.

{heading}# Limits

The network predicts one of its classes for every image, also for an image of none of them. Accuracy is lower at sizes
other than that of training. Robustness was measured only where the table above says so.

Method: [Adversarial Examples Improve Image Recognition](https://arxiv.org/abs/1911.09665), CVPR 2020.
"""


def _table(rows: list[tuple[str, Any]], headers: tuple[str, str]) -> str:
    return tabulate.tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def code_commit() -> str | None:
    """The commit of the checkout that holds this file, with `-dirty` for uncommitted changes; None without one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
