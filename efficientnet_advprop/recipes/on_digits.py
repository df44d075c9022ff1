"""The recipe on the handwritten digits."""

import math

from efficientnet_advprop.recipes.data_spec import DataSpec
from efficientnet_advprop.recipes.networks import NetworkSpec, for_small_images
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec
from efficientnet_advprop.recipes.recipe import Cadence, Provenance, Recipe
from efficientnet_advprop.recipes.schemes import SCHEMES
from efficientnet_advprop.recipes.training_attacks import training_attack

# What this project has measured with the recipes below, on two CPU cores.
_MEASURED_ON_DIGITS = {
    ("efficientnet-b0", "advprop"): "top-1 of 95 % or more (99.2 % measured)",
    ("resnet-50", "advprop"): "top-1 of 95 % or more (99.4 % measured)",
    ("efficientnet-b7", "advprop"): "top-1 far above the 10 % of chance (90.6 % measured)",
}

# Networks this deep need minutes to their first step on a laptop and seconds for each: their digits recipe is short.
_DEEP = frozenset(
    (*(f"efficientnet-{suffix}" for suffix in ("b5", "b6", "b7", "b8", "l2")), "resnet-101", "resnet-152", "resnet-200")
)


def digits_recipe(network: NetworkSpec, scheme: str) -> Recipe:
    """Minutes on a laptop: 32-px images, Adam, averages fast enough for a few hundred steps.

    B0 takes three of them, ResNet-50 with its stronger attack a quarter of an hour.

    At the official decays (batch norm 0.99, moving average 0.9999) a run of some hundred steps is evaluated near
    chance whatever it learned.
    """
    measured = _MEASURED_ON_DIGITS.get((network.name, scheme))
    deep = network.name in _DEEP
    batch_size, num_train_images = 32, 1437
    steps_per_epoch = math.ceil(num_train_images / batch_size)
    return Recipe(
        network=for_small_images(network),
        data=DataSpec(
            "digits",
            num_label_classes=10,
            num_train_images=num_train_images,
            num_eval_images=360,
            train_crop="pad_and_crop",
            eval_crop="none",
            flip=False,
            augment_pixel_scale=32 / 224,
        ),
        optimizer=OptimizerSpec(
            optimizer="adam",
            base_learning_rate=0.008 if deep else 0.016,
            lr_schedule="cosine",
            lr_warmup_epochs=0.5 if deep else 1.0,
            moving_average_decay=0.95 if deep else 0.99,
        ),
        scheme=scheme,
        attack=training_attack(network.name, scheme),
        term_weights=SCHEMES[scheme].weights,
        train_batch_size=batch_size,
        train_epochs=2.0 if deep else 8.0,
        cadence=Cadence(
            iterations_per_loop=1 if deep else 15,
            steps_per_eval=steps_per_epoch,
            steps_per_checkpoint=steps_per_epoch,
            eval_batch_size=72,  # divides over the 8 cores of a TPU
        ),
        provenance=Provenance(
            source="trials of this project on the held-out fifth of scikit-learn's digits",
            command=f"python main.py --model={network.name} --scheme={scheme}",
            hardware="2 CPU cores",
            expected=measured or "not known",
            measured=measured is not None,
        ),
    )
