"""A network with weights from a file, to evaluate, predict or export."""

from efficientnet_advprop.data import Source, labelled_as, named_synsets
from efficientnet_advprop.models.weights import Weights
from efficientnet_advprop.modes.session import Session, scheme_and_dataset
from efficientnet_advprop.recipes import Recipe, RunOptions, refuse_other_classes


class LoadedNetwork(Session):
    """Weights of a run's checkpoint, of an official one, of timm's or of a SavedModel, on the options' devices.

    Args:
        recipe: of the network and its evaluation.
        options: files, devices and input pipeline.
        source: images to evaluate on, or to compare an export on; None if the mode needs none.
        weights: the opened file; `read_weights` reads it.

    Raises:
        RecipeError: when the data and the weights have different classes.
    """

    def __init__(self, recipe: Recipe, options: RunOptions, source: Source | None, weights: Weights) -> None:
        _require_same_classes(weights, source)
        super().__init__(recipe, options, source, weights)
        self.step, self.checkpoint_path = weights.step, weights.facts.path
        self.trained_with = _trained_with(recipe, weights)
        self.weights_in_words = weights.origin
        if not weights.facts.is_graph:
            self.weights_in_words = f"{weights.facts.kind(options.ema)}, {weights.origin}"

    def read_weights(self) -> None:
        """Build the network and read its weights.

        Raises:
            RecipeError: when they cannot be read or belong to another network.
        """
        self.describe_weights(self.options.ema)
        with self.strategy.scope():
            self.evaluated_model, notes = self.weights.read(
                self.make_model, self.options.ema, self.options.allow_extra_variables
            )
        self.say_notes(notes)


def _trained_with(recipe: Recipe, weights: Weights) -> tuple[str | None, str | None]:
    """Scheme and data set of the weights' training; None where unknown."""
    if weights.facts.recipe is not None:
        return scheme_and_dataset(recipe)
    if weights.facts.is_graph:
        return weights.facts.scheme, weights.facts.dataset
    is_advprop = recipe.network.preprocessing == "advprop"  # only the AdvProp checkpoints use it
    return ("advprop" if is_advprop else None), None


def has_other_classes(weights: Weights, source: Source) -> bool:
    """Whether data have other classes than weights were trained on: other names, or, without names, more or fewer."""
    theirs = weights.class_names
    ours = labelled_as(source, theirs, weights.facts.path).class_names
    if ours and theirs:
        return named_synsets(ours) != named_synsets(theirs)
    return source.facts.num_label_classes not in (None, weights.facts.num_classes)


def _require_same_classes(weights: Weights, source: Source | None) -> None:
    """Refuse weights that were trained on other classes than those of the data."""
    ours, theirs = source.class_names if source else None, weights.class_names
    theirs = named_synsets(theirs) if theirs else None
    if ours and theirs and ours != theirs:
        refuse_other_classes(weights.facts.path, theirs, source.facts.where, ours)
