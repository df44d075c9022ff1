"""What evaluations on benchmarks found, kept where the next start and `--mode=compare` find it."""

import dataclasses
import json
import os
from typing import Any

import tensorflow as tf

from efficientnet_advprop.evaluation.part_keys import benchmark_of
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.recipes import RecipeError, first_line

RESULTS_FILE = "results.json"


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """The network that was evaluated.

    Attributes:
        model: name of the network.
        scheme: it was trained with; None if unknown.
        dataset: it was trained on; None if unknown.
        seed: of its training; None if unknown.
        step: updates that made the weights; None if unknown.
        weights: "averaged" or "raw", and where from.
        input_image_size: side of its input in pixels.
        class_names: in label order.
        recipe: digest of all that decided its training but the seed, so that runs over seeds can be told; None if
            unknown.
        digest: of the weights.
    """

    model: str
    scheme: str | None
    dataset: str | None
    seed: int | None
    step: int | None
    weights: str
    input_image_size: int
    class_names: tuple[str, ...]
    recipe: str | None
    digest: str


@dataclasses.dataclass(frozen=True)
class Part:
    """What one pass over images found.

    Attributes:
        settings: what the pass was about, beside the network: which images, how many, how they were made fit for the
            network, the attack. A pass is not repeated while they are the same.
        images: images counted.
        bad_images: images that could not be read, not among those.
        scores: metrics by what answered (a branch; for attacks the kind of images) and by name: `top1` and `top5`
            (shares), `loss` (mean cross-entropy) and, where the set shows 200 classes, `top1_of_200`.
        confusions: by what answered, the commonest (class, taken for, times), by names.
        seconds: that the pass took.
    """

    settings: dict[str, Any]
    images: int
    bad_images: int
    scores: dict[str, dict[str, float]]
    confusions: dict[str, list[tuple[str, str, int]]]
    seconds: float

    def summary(self) -> str:
        """Top-1 on one line."""
        return ", ".join(f"{answered} {100 * scores['top1']:.2f} %" for answered, scores in self.scores.items())


class EvaluationResults:
    """`results.json` of an evaluation: longer by one part at a time.

    Parts are named as `part_keys` tells.

    Args:
        folder: of the evaluation.

    Raises:
        RecipeError: when the file cannot be read.
    """

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, RESULTS_FILE)
        self.evaluated: Evaluated | None = None
        self.parts: dict[str, Part] = {}
        if not tf.io.gfile.exists(self.path):
            return
        try:
            with tf.io.gfile.GFile(self.path) as file:
                values = json.load(file)
            evaluated = values["evaluated"]
            self.evaluated = Evaluated(**{**evaluated, "class_names": tuple(evaluated["class_names"])})
            self.parts = {key: Part(**part) for key, part in values["parts"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
            raise RecipeError(f"{self.path} cannot be read: {first_line(error)}") from error

    def start(self, evaluated: Evaluated) -> None:
        """Make the results these weights'.

        Raises:
            RecipeError: when they are other weights'.
        """
        if self.evaluated not in (None, evaluated):
            ours, theirs = dataclasses.asdict(self.evaluated), dataclasses.asdict(evaluated)
            field = next(field for field in ours if ours[field] != theirs[field])
            raise RecipeError(
                f"{self.path} is of other weights ({field} {ours[field]}, now {theirs[field]}): "
                "--evaluation_dir names another folder"
            )
        self.evaluated = evaluated

    def has(self, key: str, settings: dict[str, Any]) -> bool:
        """Whether this pass was made, with these settings."""
        return key in self.parts and self.parts[key].settings == json.loads(json.dumps(settings))

    def add(self, key: str, part: Part, write: bool = True) -> None:
        """Record a finished pass; workers beside the chief do not write."""
        self.parts[key] = part
        if not write:
            return
        # A line for each part: there may be a hundred, with many numbers each.
        parts = ",\n".join(
            f"{json.dumps(name)}: {json.dumps(dataclasses.asdict(self.parts[name]))}" for name in self.parts
        )
        evaluated = json.dumps(dataclasses.asdict(self.evaluated))
        write_atomic(self.path, f'{{"evaluated": {evaluated},\n"parts": {{\n{parts}\n}}}}\n')

    def parts_of(self, benchmark: str) -> dict[str, Part]:
        """The parts of a benchmark such as "imagenet_c", by their whole names."""
        return {key: part for key, part in self.parts.items() if benchmark_of(key) == benchmark}

    def drop(self, key: str) -> None:
        """Forget a part that is not to be read together with those to come."""
        del self.parts[key]

    def scores_of(self, benchmark: str, answered: str, metric: str) -> dict[str, float]:
        """One metric of all parts of a benchmark that have it, by the parts' names.

        Args:
            benchmark: such as "imagenet_c".
            answered: as in `Part.scores`.
            metric: likewise.
        """
        return {
            key: part.scores[answered][metric]
            for key, part in self.parts_of(benchmark).items()
            if metric in part.scores.get(answered, {})
        }
