"""Results of evaluations in `results.json`, which the next start, a study's report and `--mode=compare` read."""

import collections
import dataclasses
import json
import os
from collections.abc import Iterable
from typing import Annotated, Any

import tensorflow as tf

from efficientnet_advprop.evaluation.old_results import ONLY_RUN, VERSION, upgraded
from efficientnet_advprop.evaluation.part_keys import CLEAN_IMAGES, require_known
from efficientnet_advprop.files import read_or_refuse, write_atomic
from efficientnet_advprop.recipes import (
    ATTACKED,
    COUNT,
    FRACTION,
    SECONDS,
    Bounded,
    Bounds,
    JsonObject,
    Recipe,
    RecipeError,
    benchmark_of,
    digest,
    first_line,
    from_values,
    json_values,
    override,
)

RESULTS_FILE = "results.json"
_SCORES = JsonObject({"top1": Annotated[float, FRACTION]}, {"top": Annotated[float, FRACTION], "": float})
_SETTINGS = JsonObject({}, {"input_image_size": int, "resize": str, "": str | int | float | bool | None})


@dataclasses.dataclass(frozen=True)
class Evaluated(Bounded):
    """The network that was evaluated; unknown values are None.

    Attributes:
        model: name of the network.
        scheme: of its training.
        dataset: of its training.
        seed: of its training.
        step: number of updates of the weights.
        weights: "averaged" or "raw", and their origin.
        input_image_size: side of its input in pixels.
        class_names: in label order.
        recipe: digest of its recipe without the seed, which is equal in runs over seeds.
        digest: of the weights.
    """

    model: str
    scheme: str | None
    dataset: str | None
    seed: Annotated[int | None, COUNT]
    step: Annotated[int | None, COUNT]
    weights: str
    input_image_size: Annotated[int | None, COUNT]
    class_names: tuple[str, ...] | None
    recipe: str | None
    digest: str | None


@dataclasses.dataclass(frozen=True)
class Training(Bounded):
    """The training of a study's run.

    Attributes:
        row: name of the run's row in tables; runs of a model in one row differ only in their seed.
        passes: forward and backward passes over the training images in the whole run, as the scheme counts them.
        seconds: wall time of the training.
        precision: of the computation, such as "float32".
        diverged: where a loss, a gradient or a weight was not finite and the run ended; None for a finished run.
    """

    row: str
    passes: Annotated[float, Bounds("[0, 1e12]")]
    seconds: Annotated[float, SECONDS]
    precision: str
    diverged: str | None = None


@dataclasses.dataclass(frozen=True)
class Part(Bounded):
    """The result of one pass over images; numbers that an older version did not keep are None.

    Attributes:
        settings: of the pass: the images, their number, crop and size, the attack. A pass is repeated only if they
            change.
        images: number of images evaluated.
        bad_images: number of images that could not be read; not part of `images`.
        scores: metrics by branch, or under attack by kind of image: `top1` and `top5` (fractions), `loss` (mean
            cross-entropy) and, if the benchmark has a subset of N classes, `top1_of_N`.
        confusions: likewise, the most frequent (class, predicted class, times).
        seconds: wall time of the pass.
    """

    settings: dict[str, Any]
    images: Annotated[int | None, COUNT]
    bad_images: Annotated[int | None, COUNT]
    scores: dict[str, dict[str, float]]
    confusions: dict[str, list[tuple[str, str, int]]]
    seconds: Annotated[float | None, SECONDS]

    def summary(self) -> str:
        """Top-1 on one line."""
        return ", ".join(f"{name} {100 * scores['top1']:.2f} %" for name, scores in self.scores.items())


@dataclasses.dataclass
class RunResults:
    """The results of one run.

    Attributes:
        evaluated: the network.
        training: of a study's run; None for other networks.
        parts: by their keys; see `part_keys`.
    """

    evaluated: Evaluated
    training: Training | None = None
    parts: dict[str, Part] = dataclasses.field(default_factory=dict)

    def has(self, key: str, settings: dict[str, Any]) -> bool:
        """Whether there is a result of this pass with these settings."""
        return key in self.parts and self.parts[key].settings == json.loads(json.dumps(settings))

    def parts_of(self, benchmark: str) -> dict[str, Part]:
        """The parts of a benchmark such as "imagenet_c", by their keys."""
        return {key: part for key, part in self.parts.items() if benchmark_of(key).name == benchmark}

    def scores_of(self, benchmark: str, branch: str, metric: str) -> dict[str, float]:
        """A metric of the parts of a benchmark that have it, by their keys; branch and metric as in `Part.scores`."""
        return {
            key: part.scores[branch][metric]
            for key, part in self.parts_of(benchmark).items()
            if metric in part.scores.get(branch, {})
        }


class ResultsFile:
    """`results.json` of an evaluation, with a single run, or of a study, with a run for each finished trial.

    Args:
        folder: of the file, which may not exist yet.

    Attributes:
        path: of the file.
        runs: by name; in a study by the trial's key.

    Raises:
        RecipeError: when the file cannot be read.
    """

    ONLY = ONLY_RUN

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, RESULTS_FILE)
        self.runs = _read(self.path)

    @property
    def is_study(self) -> bool:
        """Whether its runs are trials of a study."""
        return any(run.training is not None for run in self.runs.values())

    def start(self, evaluated: Evaluated) -> RunResults:
        """The results of these weights; empty in a new file.

        Raises:
            RecipeError: when the file holds a study, or results of other weights.
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
        """Write these runs, and keep those that another process has written since the file was read."""
        self.runs = {**_read(self.path), **runs}
        text = ",\n".join(f"{json.dumps(name)}: {_as_text(run)}" for name, run in self.runs.items())
        write_atomic(self.path, f'{{"version": {VERSION},\n"runs": {{\n{text}\n}}}}\n')


def digest_over_seeds(recipe: Recipe) -> str:
    """The digest of a recipe without its seed, which is equal in runs over seeds."""
    return digest(override(recipe, {"seed": 0}))


def most_frequent_confusions(parts: Iterable[Part], most: int) -> dict[str, list[tuple[str, str, int]]]:
    """(class, predicted class, times) by branch or kind of image, the most frequent first.

    A part keeps only its most frequent confusions: a sum over several parts is a lower bound. Attacks of several
    strengths share their clean images, which count once.

    Args:
        parts: of one benchmark; under attack, of one curve.
        most: maximum number of pairs for each branch or kind of image.
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
    """JSON with a line for each part; there may be a hundred parts with many numbers each."""
    values = dataclasses.asdict(run)
    parts = ",\n".join(f"{json.dumps(key)}: {json.dumps(part)}" for key, part in values["parts"].items())
    parts = f"{{\n{parts}\n}}" if parts else "{}"
    evaluated, training = json.dumps(values["evaluated"]), json.dumps(values["training"])
    return f'{{"evaluated": {evaluated},\n"training": {training},\n"parts": {parts}}}'


def _read(path: str) -> dict[str, RunResults]:
    remedy = "restore it, or move it away to evaluate again"
    return read_or_refuse(path, _runs, remedy) if tf.io.gfile.exists(path) else {}


def _runs(text: bytes) -> dict[str, RunResults]:
    try:
        values = upgraded(json_values(text))
        runs = {name: _run(name, run) for name, run in values["runs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # of older formats, which have no schema
        raise RecipeError(f"{error} is missing" if isinstance(error, KeyError) else first_line(error)) from error
    if len({run.training is None for run in runs.values()}) > 1:
        raise RecipeError("only some of its runs have a training")
    return runs


def _run(name: str, values: Any) -> RunResults:
    """A run from its JSON.

    Raises:
        RecipeError: naming what is not a result of this version; no report would show an unknown part.
    """
    run = from_values(RunResults, values, name)
    for key, part in run.parts.items():
        require_known(key)
        where = f"{name}.parts.{key}"
        needed = {"success": str} if benchmark_of(key).kind == ATTACKED else {}
        from_values(_SETTINGS._replace(required=needed), part.settings, f"{where}.settings")
        for of, scores in part.scores.items():
            from_values(_SCORES, scores, f"{where}.scores.{of}")
    return run
