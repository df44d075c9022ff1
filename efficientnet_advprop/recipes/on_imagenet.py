"""The recipe on ImageNet: the settings of a network's family, under a scheme."""

import dataclasses

from efficientnet_advprop.recipes.families import family_of
from efficientnet_advprop.recipes.family import NamedNetwork
from efficientnet_advprop.recipes.recipe import Cadence, Provenance, Recipe
from efficientnet_advprop.recipes.schemes import Scheme
from efficientnet_advprop.recipes.terms import TermWeights


def imagenet_recipe(network: NamedNetwork, scheme: Scheme) -> Recipe:
    """The recipe of a network on ImageNet under a scheme."""
    training, published = family_of(network.spec.name).imagenet, network.published_top1.get(scheme.name)
    recipe = Recipe(
        network=network.spec,
        data=training.data,
        optimizer=training.optimizer,
        **scheme.settings_for(network.attack),
        train_batch_size=training.train_batch_size,
        train_epochs=training.train_epochs,
        label_smoothing=training.label_smoothing,
        cadence=Cadence(
            iterations_per_loop=64,  # the logging interval of the official trainer
            steps_per_eval=training.steps_per_eval,
            steps_per_checkpoint=training.steps_per_checkpoint,
            # The official value is 64, on a TPU. An image needs nine times as much memory in B7 as in B0.
            eval_batch_size=64 if network.spec.input_image_size <= 300 else 16,
        ),
        provenance=Provenance(
            source=training.source,
            command=f"python main.py --model={network.spec.name} --scheme={scheme.name} {training.flags}",
            hardware=training.hardware,
            expected=f"top-1 {published} %{training.top1_note}" if published else "not known",
            measured=False,
        ),
    )
    if not training.averages_terms:
        return recipe
    weights, note = mean_of_terms(recipe, scheme)
    provenance = dataclasses.replace(recipe.provenance, source=f"{recipe.provenance.source}: {note}")
    return dataclasses.replace(recipe, term_weights=weights, provenance=provenance)


def mean_of_terms(recipe: Recipe, scheme: Scheme) -> tuple[TermWeights, str]:
    """Term weights that make the recipe's loss a mean over terms, and a note on them for the provenance.

    The sum of two cross-entropies would double the updates of the shared weights. A scheme that was published with its
    own weights keeps them: its loss is already a mean over images (Fast AdvProp), or one cross-entropy and a
    regulariser, trained with the learning rate of the cross-entropy (TRADES).
    """
    if scheme.weights != TermWeights():
        return scheme.weights, f"scheme {scheme.name} keeps its published term weights"
    fraction = 1.0 / max(len(phase.terms) for phase in recipe.phases)
    return TermWeights(clean=fraction, adversarial=fraction, augmented=fraction), f"term weights {fraction:g}"
