"""The recipes on ImageNet: the paper's for EfficientNets, He et al.'s for ResNets."""

import dataclasses
from collections.abc import Callable

from efficientnet_advprop.recipes.data_spec import DataSpec
from efficientnet_advprop.recipes.networks import NetworkSpec
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec
from efficientnet_advprop.recipes.recipe import Cadence, Provenance, Recipe
from efficientnet_advprop.recipes.schemes import SCHEMES
from efficientnet_advprop.recipes.terms import TermWeights
from efficientnet_advprop.recipes.training_attacks import training_attack

_IMAGENET = DataSpec("imagenet", num_label_classes=1000, num_train_images=1_281_167, num_eval_images=50_000)

# ImageNet top-1 in %, vanilla and AdvProp: figure 4 and the talk's table. The paper's other schemes were trained with
# PGD5 throughout, which is not the attack of the recipes of B0 to B3.
_PUBLISHED_TOP1 = {
    "efficientnet-b0": (77.3, 77.6),
    "efficientnet-b1": (79.2, 79.6),
    "efficientnet-b2": (80.3, 80.5),
    "efficientnet-b3": (81.7, 81.9),
    "efficientnet-b4": (83.0, 83.3),
    "efficientnet-b5": (83.7, 84.3),
    "efficientnet-b6": (84.2, 84.8),
    "efficientnet-b7": (84.5, 85.2),
    "efficientnet-b8": (84.8, 85.5),
    "resnet-50": (76.7, 77.1),
    "resnet-101": (78.3, 78.9),
    "resnet-152": (79.0, 79.8),
    "resnet-200": (79.3, 80.1),
}


def imagenet_recipe(network: NetworkSpec, scheme: str) -> Recipe:
    """The recipe of a network's family under a scheme."""
    return _RECIPES[network.family](network, scheme)


def _published(network: NetworkSpec, scheme: str, setting: str = "") -> str:
    """The published top-1 of a network under a scheme."""
    vanilla, advprop = _PUBLISHED_TOP1.get(network.name, (None, None))
    published = {"vanilla": vanilla, "advprop": advprop}.get(scheme)
    return f"top-1 {published} %{setting}" if published else "not known"


def _efficientnet(network: NetworkSpec, scheme: str) -> Recipe:
    """The paper's recipe: EfficientNet's own settings, 350 epochs at batch 2048 (official `main.py`)."""
    return Recipe(
        network=network,
        data=dataclasses.replace(_IMAGENET, augment_name="autoaugment"),
        optimizer=OptimizerSpec(),
        scheme=scheme,
        attack=training_attack(network.name, scheme),
        term_weights=SCHEMES[scheme].weights,
        train_batch_size=2048,
        train_epochs=350.0,
        # Evaluation and checkpoints as the official trainer; a look every 64 steps, as often as it logs.
        cadence=Cadence(
            iterations_per_loop=64,
            steps_per_eval=6255,
            steps_per_checkpoint=1251,
            # 64 is official, on a TPU; for one image of B7 a network needs as much memory as for nine of B0.
            eval_batch_size=64 if network.input_image_size <= 300 else 16,
        ),
        provenance=Provenance(
            source="Xie et al., CVPR 2020, figure 4; constants of the official EfficientNet trainer",
            command=f"python main.py --model={network.name} --scheme={scheme} --data_dir=IMAGENET --tpu=NAME",
            hardware="TPU v3 pod slice (the official default is 32 cores)",
            expected=_published(network, scheme, " with AutoAugment"),
            measured=False,
        ),
    )


def _resnet(network: NetworkSpec, scheme: str) -> Recipe:
    """He et al.'s recipe as the authors-guided re-implementation in PyTorch has it: SGD, 105 epochs at batch 256.

    Its learning rate belongs to the mean of the losses on clean and on adversarial images, hence `_mean_of_terms`.
    """
    recipe = Recipe(
        network=network,
        data=dataclasses.replace(_IMAGENET, eval_crop="0.875", resize="bilinear"),
        optimizer=OptimizerSpec(
            optimizer="momentum",
            base_learning_rate=0.1,
            lr_schedule="step",
            lr_step_epochs=(30.0, 60.0, 90.0, 100.0),
            lr_decay_factor=0.1,
            lr_warmup_epochs=0.0,
            momentum=0.9,
            weight_decay=1e-4,
            decay_batch_norm=True,
            moving_average_decay=0.0,
        ),
        scheme=scheme,
        attack=training_attack(network.name, scheme),
        train_batch_size=256,
        train_epochs=105.0,
        label_smoothing=0.0,
        cadence=Cadence(iterations_per_loop=64, steps_per_eval=5005, steps_per_checkpoint=5005),  # an epoch
        provenance=Provenance(
            source=(
                "He et al., arXiv 1512.03385; top-1 of Xie et al.'s talk at CVPR 2020; constants (not the attack, "
                "PGD1) of github.com/tingxueronghua/pytorch-classification-advprop, whose learning rate belongs to "
                "the mean of the clean and the adversarial loss"
            ),
            command=f"python main.py --model={network.name} --scheme={scheme} --data_dir=IMAGENET --tpu=NAME",
            hardware="8 GPUs or a TPU v3-8",
            expected=_published(network, scheme),
            measured=False,
        ),
    )
    weights, note = _mean_of_terms(recipe)
    provenance = dataclasses.replace(recipe.provenance, source=f"{recipe.provenance.source}: {note}")
    return dataclasses.replace(recipe, term_weights=weights, provenance=provenance)


def _mean_of_terms(recipe: Recipe) -> tuple[TermWeights, str]:
    """Weights that make the recipe's loss a mean, and what to say of them.

    The sum of two cross-entropies would double the step of the shared weights. A scheme with published weights of its
    own keeps them: with these its loss is a mean over images already (Fast AdvProp), or one cross-entropy and a
    regulariser, to which the rate of the cross-entropy alone belongs (TRADES).
    """
    published = SCHEMES[recipe.scheme].weights
    if published != TermWeights():
        return published, f"scheme {recipe.scheme} keeps its published term weights"
    share = 1.0 / max(len(phase.terms) for phase in recipe.phases)
    return TermWeights(clean=share, adversarial=share, augmented=share), f"term weights {share:g}"


_RECIPES: dict[str, Callable[[NetworkSpec, str], Recipe]] = {"efficientnet": _efficientnet, "resnet": _resnet}
