"""What is known of an exported network: for programs as `export.json`, for people as a model card."""

import dataclasses
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tabulate

from efficientnet_advprop.recipes import MAIN_BRANCH, RecipeError

DESCRIPTION_FILE = "export.json"
CARD_FILE = "model_card.md"
_LABELS_SHOWN = 10
_NOT_KNOWN = "not known"
_PIXELS_DO = {
    "advprop": "x * 2 / 255 - 1, inside the network",
    "imagenet": "ImageNet's mean and standard deviation, inside the network",
}
_CROPS = {
    "pad32": "central square of size / (size + 32) of the short side",
    "0.875": "central square of 0.875 of the short side",
    "none": "the whole image",
}
_RESIZES = {"bicubic": "TF1's bicubic", "bilinear": "bilinear, antialiased, as PIL's"}


@dataclasses.dataclass(frozen=True)
class Description:
    """What is known of an exported network.

    Attributes:
        model: name of the network.
        scheme: training scheme; None if unknown.
        dataset: that it was trained on; None if unknown.
        preprocessing: what the network does to pixels, as `NetworkSpec.preprocessing`.
        input_image_size: side of the images that evaluation shows it, in pixels; others work, less well.
        eval_crop: as `DataSpec.eval_crop`.
        resize: as `DataSpec.resize`.
        branch: whose batch norms are in it.
        weights: "averaged" or "raw", and where from.
        step: updates that made the weights; None if unknown.
        metrics: results of evaluations of these weights, by name; empty if there are none.
        parameters: number of weights, statistics of batch norms included.
        commit: of the code that exported; None if unknown.
        class_names: in label order.
        input_range: of the images that the exported functions take.
    """

    model: str
    scheme: str | None
    dataset: str | None
    preprocessing: str
    input_image_size: int
    eval_crop: str
    resize: str
    branch: str
    weights: str
    step: int | None
    metrics: Mapping[str, float]
    parameters: int
    commit: str | None
    class_names: tuple[str, ...]
    input_range: tuple[int, int] = (0, 255)

    def to_json(self) -> str:
        """The description as text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """Read what `to_json` wrote.

        Raises:
            RecipeError: for anything else.
        """
        try:
            values = json.loads(text)
            return cls(
                **{
                    **values,
                    "class_names": tuple(values["class_names"]),
                    "input_range": tuple(values["input_range"]),
                }
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise RecipeError(f"not a description of this version: {error}") from error

    def facts(self) -> list[tuple[str, Any]]:
        """(what, value) for a table that people read."""
        low, high = self.input_range
        return [
            ("network", self.model),
            ("parameters", f"{self.parameters:,}, statistics of batch norms included"),
            ("training scheme", self.scheme or _NOT_KNOWN),
            ("data", self.dataset or _NOT_KNOWN),
            ("weights", self.weights),
            ("step", _NOT_KNOWN if self.step is None else self.step),
            (
                "batch norms",
                f"of the {self.branch} branch" + ("" if self.branch == MAIN_BRANCH else ", NOT the main one"),
            ),
            ("images", f"RGB in [{low}, {high}], trained at {self.input_image_size} x {self.input_image_size} px"),
            ("preprocessing", f"{self.preprocessing}: {_PIXELS_DO[self.preprocessing]}"),
            ("crop and resize of evaluation", f"{_CROPS[self.eval_crop]}; {_RESIZES[self.resize]}"),
            (
                "classes",
                f"{len(self.class_names)}: {', '.join(self.class_names[:_LABELS_SHOWN])}" + self._more_classes(),
            ),
            ("commit of the code", self.commit or _NOT_KNOWN),
        ]

    def _more_classes(self) -> str:
        return ", ..." if len(self.class_names) > _LABELS_SHOWN else ""


def model_card(description: Description, interface: str, heading: str = "#") -> str:
    """Markdown: what the network is, what it takes and gives, how good it is, what it is not for.

    Args:
        description: of the network.
        interface: Markdown that says how this export is called.
        heading: mark of its highest heading.
    """
    results = "No evaluation of these weights is recorded."
    if description.metrics:
        rows = [
            (name, f"{100 * value:.2f} %" if name.startswith("top") else f"{value:.4g}")
            for name, value in description.metrics.items()
        ]
        results = _table(rows, ("on the evaluation images", "result"))
    return f"""{heading} {description.model}

{_table(description.facts(), ("what", "value"))}

{heading}# Interface

{interface}

{heading}# Results

{results}

`top1_main` and `top5_main` are shares of right answers through the main batch norms, `top1_auxiliary` through the
auxiliary ones; `top1_pgd` is under an attack: PGD in L-infinity, 4 px of 255, 10 steps of 1 px.

{heading}# Limits

The network answers with one of its classes whatever it is shown. Sizes other than the trained one cost accuracy.
Robustness was measured only as far as the table above says.

Method: [Adversarial Examples Improve Image Recognition](https://arxiv.org/abs/1911.09665), CVPR 2020.
"""


def _table(rows: list[tuple[str, Any]], headers: tuple[str, str]) -> str:
    return tabulate.tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def code_commit() -> str | None:
    """The commit of the checkout that this file is in, with `-dirty` if files differ from it; None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
