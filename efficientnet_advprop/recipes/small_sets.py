"""Recipes for CIFAR-10 (half an hour on a laptop) and for random images (a smoke test)."""

import math

from efficientnet_advprop.recipes.data_spec import DataSpec
from efficientnet_advprop.recipes.families import named_network
from efficientnet_advprop.recipes.networks import NetworkSpec, for_small_images
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec
from efficientnet_advprop.recipes.recipe import Cadence, Provenance, Recipe
from efficientnet_advprop.recipes.schemes import SCHEMES
from efficientnet_advprop.recipes.training_attacks import training_attack


def cifar10_recipe(network: NetworkSpec, scheme: str) -> Recipe:
    """Two epochs at 32 px, about half an hour for B0 with AdvProp on two cores; averages for a run of 780 steps.

    With the official stride of the stem the last two stages would have a single position.
    """
    expected, measured = named_network(network.name).expected_on("cifar10", scheme)
    batch_size, num_train_images = 128, 50_000
    steps_per_epoch = math.ceil(num_train_images / batch_size)
    return Recipe(
        network=for_small_images(network, stem_strides=1),
        data=DataSpec(
            "cifar10",
            num_label_classes=10,
            num_train_images=num_train_images,
            num_eval_images=10_000,
            train_crop="pad_and_crop",
            eval_crop="none",
            augment_pixel_scale=32 / 224,
        ),
        optimizer=OptimizerSpec(
            optimizer="adam",
            base_learning_rate=0.006,
            lr_schedule="cosine",
            lr_warmup_epochs=0.25,
            moving_average_decay=0.99,
        ),
        scheme=scheme,
        attack=training_attack(network.name, scheme),
        term_weights=SCHEMES[scheme].weights,
        train_batch_size=batch_size,
        train_epochs=2.0,
        cadence=Cadence(
            iterations_per_loop=10,
            steps_per_eval=steps_per_epoch,
            steps_per_checkpoint=100,
            eval_batch_size=200,  # divisible by the 8 cores of a TPU, and divides the 10,000 images
        ),
        provenance=Provenance(
            source="the settings of the digits recipe, adapted to photographs of 32 px",
            command=f"python main.py --model={network.name} --scheme={scheme} --dataset=cifar10 --data_dir=CIFAR10",
            hardware="2 CPU cores",
            expected=expected,
            measured=measured,
        ),
    )


def fake_recipe(network: NetworkSpec, scheme: str) -> Recipe:
    """One epoch of 1,024 random images at the network's input size, to test memory and speed."""
    return Recipe(
        network=network,
        data=DataSpec(
            "fake",
            num_label_classes=1000,
            num_train_images=1024,
            num_eval_images=128,
            train_crop="none",
            eval_crop="none",
        ),
        optimizer=OptimizerSpec(),
        scheme=scheme,
        attack=training_attack(network.name, scheme),
        term_weights=SCHEMES[scheme].weights,
        train_batch_size=32,
        train_epochs=1.0,
        cadence=Cadence(iterations_per_loop=4, steps_per_eval=32, steps_per_checkpoint=32, eval_batch_size=32),
        provenance=Provenance(
            source="no data: a smoke run",
            command=f"python main.py --model={network.name} --scheme={scheme} --dataset=fake",
            hardware="any",
            expected="top-1 of chance: labels are random",
            measured=False,
        ),
    )
