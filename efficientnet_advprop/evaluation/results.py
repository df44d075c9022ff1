"""What evaluations found, kept where the next start, a study's report and `--mode=compare` find it."""

import collections
import dataclasses
import json
import os
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from efficientnet_advprop.evaluation.old_results import ONLY_RUN, VERSION, upgraded
from efficientnet_advprop.evaluation.part_keys import CLEAN_IMAGES
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.recipes import Recipe, RecipeError, benchmark_of, digest, first_line, override

RESULTS_FILE = "results.json"


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """The network that was evaluated; None for what is not known.

    Attributes:
        model: name of the network.
        scheme: it was trained with.
        dataset: it was trained on.
        seed: of its training.
        step: updates that made the weights.
        weights: "averaged" or "raw", and where from.
        input_image_size: side of its input in pixels.
        class_names: in label order.
        recipe: digest of all that decided its training but the seed, so that runs over seeds can be told.
        digest: of the weights.
    """

    model: str
    scheme: str | None
    dataset: str | None
    seed: int | None
    step: int | None
    weights: str
    input_image_size: int | None
    class_names: tuple[str, ...] | None
    recipe: str | None
    digest: str | None


@dataclasses.dataclass(frozen=True)
class Training:
    """What a study knows of a run's training.

    Attributes:
        row: what the run is called in tables; the runs of one model's row differ in their seed alone.
        passes: forward and backward passes over the training images, naively counted, over the whole run.
        seconds: of training, on the wall.
        precision: of the computation, such as "float32".
        diverged: where a loss, a gradient or a weight was no longer finite, and the run ended; None for a whole run.
    """

    row: str
    passes: float
    seconds: float
    precision: str
    diverged: str | None = None


@dataclasses.dataclass(frozen=True)
class Part:
    """What one pass over images found; None for numbers that an older version did not keep.

    Attributes:
        settings: what the pass was about, beside the network: which images, how many, how they were made fit for the
            network, the attack. A pass is not repeated while they are the same.
        images: images counted.
        bad_images: images that could not be read, not among those.
        scores: metrics by branch, for attacks by kind of image, and by name: `top1` and `top5` (fractions), `loss`
            (mean cross-entropy) and, where the set shows 200 classes, `top1_of_200`.
        confusions: by the same, the most frequent (class, taken for, times), by names.
        seconds: that the pass took.
    """

    settings: dict[str, Any]
    images: int | None
    bad_images: int | None
    scores: dict[str, dict[str, float]]
    confusions: dict[str, list[tuple[str, str, int]]]
    seconds: float | None

    def summary(self) -> str:
        """Top-1 on one line."""
        return ", ".join(f"{name} {100 * scores['top1']:.2f} %" for name, scores in self.scores.items())


@dataclasses.dataclass
class RunResults:
    """What is known of one run.

    Attributes:
        evaluated: whose weights these are.
        training: how they came about, where a study trained them; None for all others.
        parts: by their keys, which `part_keys` explains.
    """

    evaluated: Evaluated
    training: Training | None = None
    parts: dict[str, Part] = dataclasses.field(default_factory=dict)

    def has(self, key: str, settings: dict[str, Any]) -> bool:
        """Whether this pass was made, with these settings."""
        return key in self.parts and self.parts[key].settings == json.loads(json.dumps(settings))

    def parts_of(self, benchmark: str) -> dict[str, Part]:
        """The parts of a benchmark such as "imagenet_c", by their whole names."""
        return {key: part for key, part in self.parts.items() if benchmark_of(key).name == benchmark}

    def scores_of(self, benchmark: str, branch: str, metric: str) -> dict[str, float]:
        """One metric of all parts of a benchmark that have it, by the parts' names.

        Args:
            benchmark: such as "imagenet_c".
            branch: or kind of image, as in `Part.scores`.
            metric: likewise.
        """
        return {
            key: part.scores[branch][metric]
            for key, part in self.parts_of(benchmark).items()
            if metric in part.scores.get(branch, {})
        }


class ResultsFile:
    """`results.json` of an evaluation, which is of one run, or of a study, which has one for each trial.

    Args:
        folder: that it is in.

    Attributes:
        path: of the file.
        runs: by name; of a study by the trials' keys.

    Raises:
        RecipeError: when the file cannot be read.
    """

    ONLY = ONLY_RUN

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, RESULTS_FILE)
        self.runs = _read(self.path)

    @property
    def is_study(self) -> bool:
        """Whether its runs are a study's trials."""
        return any(run.training is not None for run in self.runs.values())

    def start(self, evaluated: Evaluated) -> RunResults:
        """The results of these weights, empty where there are none yet.

        Raises:
            RecipeError: when the file is of other weights.
        """
        if self.is_study:
            raise RecipeError(f"{self.path} is of a study: --evaluation_dir names another folder")
        run = self.runs.get(self.ONLY, RunResults(evaluated))
        if run.evaluated != evaluated:
            ours, theirs = dataclasses.asdict(run.evaluated), dataclasses.asdict(evaluated)
            field = next(field for field in ours if ours[field] != theirs[field])
            raise RecipeError(
                f"{self.path} is of other weights ({field} {ours[field]}, now {theirs[field]}): "
                "--evaluation_dir names another folder"
            )
        return run

    def write(self, runs: dict[str, RunResults]) -> None:
        """Record runs, beside those that another process may have recorded meanwhile."""
        self.runs = {**_read(self.path), **runs}
        text = ",\n".join(f"{json.dumps(name)}: {_as_text(run)}" for name, run in self.runs.items())
        write_atomic(self.path, f'{{"version": {VERSION},\n"runs": {{\n{text}\n}}}}\n')


def digest_over_seeds(recipe: Recipe) -> str:
    """A short name for all that decides what a run computes but its seed."""
    return digest(override(recipe, {"seed": 0}))


def most_frequent_confusions(parts: Iterable[Part], most: int) -> dict[str, list[tuple[str, str, int]]]:
    """(class, taken for, times) by branch or kind of image, the most frequent first.

    A part keeps its most frequent confusions alone, so that a sum over several parts is the least that it can be.
    Attacks of several strengths start from the same clean images, which count once.

    Args:
        parts: of one benchmark; of one curve, where it attacks.
        most: pairs of each.
    """
    times: dict[str, collections.Counter[tuple[str, str]]] = {}
    for part in parts:
        for name, confusions in part.confusions.items():
            if name == CLEAN_IMAGES and name in times:
                continue
            sums = times.setdefault(name, collections.Counter())
            for true, taken_for, number in confusions:
                sums[true, taken_for] += number
    return {name: [(*pair, number) for pair, number in sums.most_common(most)] for name, sums in times.items() if sums}


def _as_text(run: RunResults) -> str:
    """A line for each part: there may be a hundred, with many numbers each."""
    values = dataclasses.asdict(run)
    parts = ",\n".join(f"{json.dumps(key)}: {json.dumps(part)}" for key, part in values["parts"].items())
    parts = f"{{\n{parts}\n}}" if parts else "{}"
    evaluated, training = json.dumps(values["evaluated"]), json.dumps(values["training"])
    return f'{{"evaluated": {evaluated},\n"training": {training},\n"parts": {parts}}}'


def _read(path: str) -> dict[str, RunResults]:
    if not tf.io.gfile.exists(path):
        return {}
    try:
        with tf.io.gfile.GFile(path) as file:
            values = upgraded(json.load(file))
        return {name: _run(run) for name, run in values["runs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise RecipeError(f"{path} cannot be read: {first_line(error)}") from error


def _run(values: dict[str, Any]) -> RunResults:
    """A run from its JSON."""
    evaluated, training = values["evaluated"], values["training"]
    names = evaluated["class_names"]
    parts = {key: Part(**part) for key, part in values["parts"].items()}
    for key in parts:
        benchmark_of(key)  # a part that no report would show is refused, not passed over
    return RunResults(
        Evaluated(**{**evaluated, "class_names": None if names is None else tuple(names)}),
        None if training is None else Training(**training),
        parts,
    )
