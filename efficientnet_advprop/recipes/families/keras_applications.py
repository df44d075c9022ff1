"""The networks of `tf.keras.applications` that have batch norms, as `keras:NAME`.

ConvNeXt has layer norms and VGG has no norms, so neither has anything for a second branch to own.
"""

import dataclasses
from collections.abc import Mapping

from efficientnet_advprop.recipes.data_spec import IMAGENET
from efficientnet_advprop.recipes.family import PGD1, PGD5, Family, ImagenetTraining, NamedNetwork
from efficientnet_advprop.recipes.networks import KERAS_PREFIX, NetworkSpec
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec

# What Keras' builders fix. Its own preprocessing is part of a network.
_FIXED = ("width_coefficient", "depth_coefficient", "preprocessing", "zero_init_residual", "stem_strides")
_TORCH_EPSILON = 1.001e-5  # of Keras' ResNets and DenseNets
_DEFAULT_PX = 224


def _named(
    name: str,
    image_size: int = _DEFAULT_PX,
    dropout_rate: float = 0.0,
    drop_connect_rate: float = 0.0,
    epsilon: float = 1e-3,
    min_image_size: int = 32,
    is_deep: bool = False,
    measured: Mapping[str, str] | None = None,
) -> NamedNetwork:
    """A network with Keras' constants, but our momentum of the batch norms.

    Keras' own momenta are those of their training: 0.999 of MobileNets, 0.9997 of NASNet, 0.0 of ResNet-RS.
    """
    spec = NetworkSpec(
        KERAS_PREFIX + name,
        image_size,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        dropout_rate=dropout_rate,
        survival_prob=1.0 - drop_connect_rate,
        batch_norm_epsilon=epsilon,
        preprocessing="keras",
    )
    return NamedNetwork(
        spec,
        attack=PGD5 if is_deep else PGD1,
        measured=measured or {},
        is_deep=is_deep,
        # Keras' initial weights learn more slowly than ours: MobileNetV2 has 92.8 % after 8 epochs.
        digits_epochs=16.0,
        fixed=_FIXED if drop_connect_rate else (*_FIXED, "survival_prob"),
        min_image_size=min_image_size,
    )


def _efficientnets() -> list[NamedNetwork]:
    sizes = {"B0": 224, "B1": 240, "B2": 260, "B3": 300, "B4": 380, "B5": 456, "B6": 528, "B7": 600}
    dropout = {"B0": 0.2, "B1": 0.2, "B2": 0.3, "B3": 0.3, "B4": 0.4, "B5": 0.4, "B6": 0.5, "B7": 0.5}
    first = [
        _named(f"EfficientNet{suffix}", size, dropout[suffix], 0.2, is_deep=suffix in ("B5", "B6", "B7"))
        for suffix, size in sizes.items()
    ]
    sizes = {"B0": 224, "B1": 240, "B2": 260, "B3": 300, "S": 384, "M": 480, "L": 480}
    return first + [
        _named(f"EfficientNetV2{suffix}", size, 0.2, 0.2, is_deep=suffix in ("M", "L"))
        for suffix, size in sizes.items()
    ]


def _resnets() -> list[NamedNetwork]:
    plain = [
        _named(f"ResNet{depth}{version}", epsilon=_TORCH_EPSILON, is_deep=depth > 50)
        for version in ("", "V2")
        for depth in (50, 101, 152)
    ]
    sizes = {50: 160, 101: 192, 152: 256, 200: 256, 270: 256, 350: 320, 420: 320}
    return plain + [
        _named(f"ResNetRS{depth}", size, 0.25, 0.1 if depth >= 200 else 0.0, 1e-5, is_deep=depth > 50)
        for depth, size in sizes.items()
    ]


def _regnets() -> list[NamedNetwork]:
    flops = ("002", "004", "006", "008", "016", "032", "040", "064", "080", "120", "160", "320")
    return [
        _named(f"RegNet{kind}{size}", epsilon=1e-5, is_deep=int(size) >= 80) for kind in ("X", "Y") for size in flops
    ]


FAMILY = Family(
    builder="keras_network:KerasNetwork",
    networks=(
        *_efficientnets(),
        _named("MobileNet"),
        _named("MobileNetV2", measured={"digits": "top-1 of 95 % or more (98.6 % measured)"}),
        _named("MobileNetV3Small", dropout_rate=0.2),
        _named("MobileNetV3Large", dropout_rate=0.2),
        *_resnets(),
        *(_named(f"DenseNet{depth}", epsilon=_TORCH_EPSILON, is_deep=depth > 121) for depth in (121, 169, 201)),
        *_regnets(),
        _named("Xception", 299, min_image_size=71),
        _named("InceptionV3", 299, min_image_size=75),
        _named("InceptionResNetV2", 299, min_image_size=75, is_deep=True),
        _named("NASNetMobile"),
        _named("NASNetLarge", 331, is_deep=True),
    ),
    # Fine-tuning from --keras_weights, on whatever images: a low rate, few epochs, a weight average for a short run.
    imagenet=ImagenetTraining(
        data=dataclasses.replace(IMAGENET, eval_crop="0.875", resize="bilinear"),
        optimizer=OptimizerSpec(
            optimizer="momentum",
            base_learning_rate=0.01,
            lr_schedule="cosine",
            lr_warmup_epochs=1.0,
            momentum=0.9,
            weight_decay=1e-5,
            moving_average_decay=0.99,
        ),
        train_batch_size=256,
        train_epochs=20.0,
        label_smoothing=0.1,
        steps_per_eval=500,
        steps_per_checkpoint=500,
        source="fine-tuning of Keras' weights (--keras_weights): a low learning rate and few epochs; not tuned",
        hardware="one GPU",
        averages_terms=True,
        flags="--keras_weights=imagenet --data_dir=FOLDER",
    ),
    of_keras=True,
)
