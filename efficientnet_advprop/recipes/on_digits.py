"""The recipe on the handwritten digits."""

import math

from efficientnet_advprop.recipes.data_spec import DataSpec
from efficientnet_advprop.recipes.families import named_network
from efficientnet_advprop.recipes.networks import NetworkSpec, for_small_images
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec
from efficientnet_advprop.recipes.recipe import Cadence, Provenance, Recipe
from efficientnet_advprop.recipes.schemes import SCHEMES
from efficientnet_advprop.recipes.training_attacks import training_attack


def digits_recipe(network: NetworkSpec, scheme: str) -> Recipe:
    """A run of minutes on a laptop: 32-px images, Adam, fast averages.

    B0 takes three minutes, ResNet-50 with its stronger attack fifteen.

    With the official decays (batch norm 0.99, moving average 0.9999) the averages would still be close to their initial
    values after a few hundred steps, and the evaluation close to chance.
    """
    named = named_network(network.name)
    expected, measured = named.expected_on("digits", scheme)
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
            base_learning_rate=0.008 if named.is_deep else 0.016,
            lr_schedule="cosine",
            lr_warmup_epochs=0.5 if named.is_deep else 1.0,
            moving_average_decay=0.95 if named.is_deep else 0.99,
        ),
        scheme=scheme,
        attack=training_attack(network.name, scheme),
        term_weights=SCHEMES[scheme].weights,
        train_batch_size=batch_size,
        train_epochs=2.0 if named.is_deep else 8.0,
        cadence=Cadence(
            iterations_per_loop=1 if named.is_deep else 15,
            steps_per_eval=steps_per_epoch,
            steps_per_checkpoint=steps_per_epoch,
            eval_batch_size=72,  # divisible by the 8 cores of a TPU
        ),
        provenance=Provenance(
            source="trials of this project on the held-out fifth of scikit-learn's digits",
            command=f"python main.py --model={network.name} --scheme={scheme}",
            hardware="2 CPU cores",
            expected=expected,
            measured=measured,
        ),
    )
