"""The networks and images of a visualization: all networks see the same images, each as its own evaluation would."""

import dataclasses
import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.data import evaluation_images, read_images, whole_pixels
from efficientnet_advprop.evaluation import ATTACKED_IMAGES, logits_of_batches, require_gradients
from efficientnet_advprop.models import Network, build_model
from efficientnet_advprop.models.weights import open_weights
from efficientnet_advprop.modes.loaded_network import LoadedNetwork
from efficientnet_advprop.modes.session import class_names_of
from efficientnet_advprop.recipes import Recipe, RecipeError, RunOptions, override, refuse_other_classes
from efficientnet_advprop.reporting import ReportFigures, Section
from efficientnet_advprop.training import checkpoints, run_folder


@dataclasses.dataclass(frozen=True)
class ShownNetwork:
    """A network with trained weights.

    Attributes:
        name: for labels of figures.
        recipe: of the network and its images.
        model: the network.
        class_names: in label order.
        scheme: of its training; None if unknown.
        weights: a description of its weights.
        logits: by branch a function from images, each [H, W, 3], to logits [N, K].
    """

    name: str
    recipe: Recipe
    model: Network
    class_names: tuple[str, ...]
    scheme: str | None
    weights: str
    logits: Mapping[str, Callable[[Sequence[np.ndarray]], np.ndarray]]

    @property
    def image_size(self) -> int:
        """Side of its input in pixels."""
        return self.recipe.network.input_image_size

    def probabilities(self, branch: str, images: np.ndarray) -> np.ndarray:
        """Probabilities [N, K] of images [N, H, W, 3] through a branch."""
        return tf.nn.softmax(self.logits[branch](list(images.astype(np.float32)))).numpy()

    def label(self, branch: str) -> str:
        """The label of one of its branches in figures."""
        return f"{self.name}\n{branch}" if len(self.model.branches) > 1 else self.name

    def in_line(self, branch: str) -> str:
        """The same label on one line."""
        return self.label(branch).replace("\n", ", ")


def refuse_other_runs(options: RunOptions, class_names: Sequence[str], needs_same_classes: bool) -> None:
    """Refuse compared folders that hold no run, the run itself, or a run of other classes, before anything is read.

    Raises:
        RecipeError: naming the folder.
    """
    for folder in options.visualization.compared:
        if os.path.realpath(folder) == os.path.realpath(options.model_dir):
            raise RecipeError(f"--compare={folder} is the run itself, which is shown first")
        recipe = run_folder.recorded_recipe(folder)
        weights = open_weights(checkpoints.find(folder, options.checkpoint))
        run_folder.require_recipe_of(weights.facts.path, weights.facts.recipe, recipe)
        theirs = class_names_of(recipe, weights)
        if needs_same_classes and theirs != tuple(class_names):
            try:
                refuse_other_classes(folder, theirs, "the first network", class_names)
            except RecipeError as error:
                raise RecipeError(f"{error}; of other classes --visualize=gradients,attack shows images") from error


def open_networks(run: LoadedNetwork) -> list[ShownNetwork]:
    """The network of a run, whose weights were read, and those of the compared runs.

    Raises:
        RecipeError: when weights cannot be read, or a network gives no gradients.
    """
    options, path = run.options, run.weights.facts.path
    name = os.path.basename(os.path.normpath(options.model_dir))
    if run.recipe.init_checkpoint is not None and not run_folder.holds_run(options.model_dir):
        name = "/".join(os.path.normpath(path).split(os.sep)[-2:])
    require_gradients(run.evaluated_model, run.recipe.network.input_image_size, path)
    scheme, _ = run.trained_with
    model, logits = run.evaluated_model, functools.partial(_logits_by_branch, run.strategy)
    first = ShownNetwork(name, run.recipe, model, run.class_names, scheme, run.weights_in_words, logits(model))
    networks = [first]
    folders = options.visualization.compared
    names = [os.path.basename(os.path.normpath(folder)) for folder in folders]
    for folder, name in zip(folders, names, strict=True):
        recipe = run_folder.recorded_recipe(folder)
        weights = open_weights(checkpoints.find(folder, options.checkpoint, run.say))
        run.say(f"compared: {weights.origin}, {weights.facts.path}")
        make_model = functools.partial(build_model, recipe.network, recipe.data.num_label_classes, recipe.branches)
        with run.strategy.scope():
            model, notes = weights.read(make_model, options.ema)
        run.say_notes(notes)
        unique = name if [*names, first.name].count(name) == 1 else folder
        weights_in_words = f"{weights.facts.kind(options.ema)}, {weights.origin}"
        classes = class_names_of(recipe, weights)
        networks.append(ShownNetwork(unique, recipe, model, classes, recipe.scheme, weights_in_words, logits(model)))
    return networks


def _logits_by_branch(
    strategy: tf.distribute.Strategy, model: Network
) -> dict[str, Callable[[Sequence[np.ndarray]], np.ndarray]]:
    return {branch: logits_of_batches(strategy, model, branch) for branch in model.branches}


class ShownImages:
    """Images that all networks see: image files, or evaluation images of the first network's data.

    Attributes:
        words: a description of the images.

    Args:
        run: with the options, strategy and data set.
        networks: that see the images.
        files: that match the options' pattern of image files; None: evaluation images.

    Raises:
        RecipeError: when no file is an image.
    """

    def __init__(
        self, run: LoadedNetwork, networks: Sequence[ShownNetwork], files: Sequence[str] | None = None
    ) -> None:
        self._run, self._first, self._files = run, networks[0], files
        if files is None:
            self.words = f"evaluation images of {run.source.facts.where}, evenly spaced"
            return
        pattern = run.options.images
        self.words = f"the first images of {pattern}"
        readable = (path for path, image in self._read(files, self._first) if not isinstance(image, str))
        self._files = list(itertools.islice(readable, ATTACKED_IMAGES))
        if not self._files:
            raise RecipeError(f"none of the {len(files)} files of {pattern} is an image")

    def has_true_classes(self, network: ShownNetwork) -> bool:
        """Whether `of` gives the true classes: those of files are unknown, others may be no classes of the network."""
        return self._files is None and network.class_names == self._first.class_names

    def of(self, network: ShownNetwork, number: int) -> tuple[np.ndarray, np.ndarray]:
        """At most `number` images as a network sees them, uint8 [N, H, W, 3], and their classes, int [N].

        The classes are the true ones where `has_true_classes`, else those that the network's first branch predicts.
        """
        if self._files is None:
            images, labels = self._of_data(network, number)
            if self.has_true_classes(network):
                return images, labels
        else:
            images = np.stack([whole_pixels(image) for _, image in self._read(self._files[:number], network)])
        return images, network.probabilities(network.model.branches[0], images).argmax(1)

    def _of_data(self, network: ShownNetwork, number: int) -> tuple[np.ndarray, np.ndarray]:
        source, own = self._run.source, self._first.recipe
        changes = {"data.num_eval_images": own.data.num_eval_images, "data.holdout_shards": own.data.holdout_shards}
        recipe = override(network.recipe, {**changes, "cadence.eval_batch_size": number})
        return evaluation_images(source, recipe, number, self._run.options.input)

    @staticmethod
    def _read(files: Sequence[str], network: ShownNetwork) -> Iterator[tuple[str, np.ndarray | str]]:
        """Each file with its image as the network sees it, or with the reason why it is none."""
        images = read_images(files, network.image_size, network.recipe.data)
        return ((path, image) for path, (_, image) in zip(files, images, strict=True))


@dataclasses.dataclass(frozen=True)
class Shown:
    """What all figures need.

    Attributes:
        run: the first network's options, devices and seed.
        networks: those to show, the first one first.
        images: that they see.
        figures: writes the figures.
    """

    run: LoadedNetwork
    networks: Sequence[ShownNetwork]
    images: ShownImages
    figures: ReportFigures

    @property
    def number(self) -> int:
        """Number of columns."""
        return self.run.options.visualization.visualize_images

    def draw(self, name: str, caption: str, draw: Callable[..., Any], *arguments: Any) -> list[tuple[str, str]]:
        """Write a figure; returns its path and caption, nothing if the drawing failed."""
        before = len(self.figures.captions)
        self.figures.add(name, caption, draw, *arguments)
        return self.figures.captions[before:]

    def left_out(self, part: str, reason: str) -> Section:
        """The section of a part that cannot be drawn."""
        self.run.say(f"{part} is left out: {reason}")
        return Section(part.capitalize(), f"Left out: {reason}.")

    @property
    def class_in_words(self) -> str:
        """The class of each image whose loss is taken."""
        without = [network.name for network in self.networks if not self.images.has_true_classes(network)]
        if not without:
            return "the true class"
        predicted = "the class that the network's first branch predicts"
        if len(without) == len(self.networks):
            return predicted
        return f"the true class; for {', '.join(without)}, of other classes, {predicted}"

    @property
    def branches(self) -> list[tuple[ShownNetwork, str]]:
        """Every branch of every network."""
        return [(network, branch) for network in self.networks for branch in network.model.branches]

    def for_each_branch(self, what: str, compute: Callable[[ShownNetwork, str], Any]) -> list[Any]:
        """What is computed for each of `branches`; says how long each took."""
        results = []
        for network, branch in self.branches:
            started = time.monotonic()
            results.append(compute(network, branch))
            self.run.say(f"{what}: {network.in_line(branch)}: {time.monotonic() - started:.0f} s")
        return results
