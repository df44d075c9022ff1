"""Recipes for the handwritten digits, for CIFAR-10 (half an hour on a laptop) and for random images (a smoke test)."""

import math

from efficientnet_advprop.recipes.data_spec import DataSpec
from efficientnet_advprop.recipes.family import NamedNetwork
from efficientnet_advprop.recipes.networks import NetworkSpec
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec
from efficientnet_advprop.recipes.recipe import Cadence, Provenance, Recipe
from efficientnet_advprop.recipes.schemes import Scheme


def for_small_images(network: NamedNetwork, stem_strides: int = 2) -> NetworkSpec:
    """A network at 32 px for runs of a few hundred steps: fast batch norm averages, no stochastic depth.

    Args:
        network: the published network.
        stem_strides: stride of the first convolution.
    """
    return network.adjusted(
        input_image_size=32,
        dropout_rate=0.2,
        survival_prob=1.0,
        batch_norm_momentum=0.9,
        classifier_init_scale=0.1,
        # Without it B7 stays at chance for two epochs, with every optimizer and rate that was tried.
        zero_init_residual=True,
        stem_strides=stem_strides,
    )


def digits_recipe(network: NamedNetwork, scheme: Scheme) -> Recipe:
    """A run of minutes on a laptop: 32-px images, Adam, fast averages.

    B0 takes three minutes, ResNet-50 with its stronger attack fifteen.

    With the official decays (batch norm 0.99, moving average 0.9999) the averages would still be close to their initial
    values after a few hundred steps, and the evaluation close to chance.
    """
    is_deep, batch_size, num_train_images = network.is_deep, 32, 1437
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
            base_learning_rate=0.008 if is_deep else 0.016,
            lr_schedule="cosine",
            lr_warmup_epochs=0.5 if is_deep else 1.0,
            moving_average_decay=0.95 if is_deep else 0.99,
        ),
        **scheme.settings_for(network.attack),
        train_batch_size=batch_size,
        train_epochs=2.0 if is_deep else network.digits_epochs,
        cadence=Cadence(
            iterations_per_loop=1 if is_deep else 15,
            steps_per_eval=steps_per_epoch,
            steps_per_checkpoint=steps_per_epoch,
            eval_batch_size=72,  # divisible by the 8 cores of a TPU
        ),
        provenance=Provenance(
            "trials of this project on the held-out fifth of scikit-learn's digits",
            f"python main.py --model={network.spec.name} --scheme={scheme.name}",
            "2 CPU cores",
            *network.expected_on("digits", scheme.name),
        ),
    )


def cifar10_recipe(network: NamedNetwork, scheme: Scheme) -> Recipe:
    """Two epochs at 32 px, about half an hour for B0 with AdvProp on two cores; averages for a run of 780 steps.

    With the official stride of the stem the last two stages would have a single position.
    """
    name, batch_size, num_train_images = network.spec.name, 128, 50_000
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
        **scheme.settings_for(network.attack),
        train_batch_size=batch_size,
        train_epochs=2.0,
        cadence=Cadence(
            iterations_per_loop=10,
            steps_per_eval=math.ceil(num_train_images / batch_size),
            steps_per_checkpoint=100,
            eval_batch_size=200,  # divisible by the 8 cores of a TPU, and divides the 10,000 images
        ),
        provenance=Provenance(
            "the settings of the digits recipe, adapted to photographs of 32 px",
            f"python main.py --model={name} --scheme={scheme.name} --dataset=cifar10 --data_dir=CIFAR10",
            "2 CPU cores",
            *network.expected_on("cifar10", scheme.name),
        ),
    )


def fake_recipe(network: NamedNetwork, scheme: Scheme) -> Recipe:
    """One epoch of 1,024 random images at the network's input size, to test memory and speed."""
    return Recipe(
        network=network.spec,
        data=DataSpec("fake", 1000, num_train_images=1024, num_eval_images=128, train_crop="none", eval_crop="none"),
        optimizer=OptimizerSpec(),
        **scheme.settings_for(network.attack),
        train_batch_size=32,
        train_epochs=1.0,
        cadence=Cadence(iterations_per_loop=4, steps_per_eval=32, steps_per_checkpoint=32, eval_batch_size=32),
        provenance=Provenance(
            source="no data: a smoke run",
            command=f"python main.py --model={network.spec.name} --scheme={scheme.name} --dataset=fake",
            hardware="any",
            expected="top-1 of chance: labels are random",
            measured=False,
        ),
    )
