"""EfficientNet B0-B8 and L2.

Sources: `efficientnet_builder.py` and `main.py` of tensorflow/tpu, models/official/efficientnet; Xie et al., CVPR 2020.
"""

import dataclasses
from typing import Any

from efficientnet_advprop.recipes.data_spec import IMAGENET
from efficientnet_advprop.recipes.family import PGD1, PGD4, Family, ImagenetTraining, NamedNetwork
from efficientnet_advprop.recipes.networks import NetworkSpec
from efficientnet_advprop.recipes.optimizer_spec import OptimizerSpec


def _named(
    suffix: str,
    width: float,
    depth: float,
    image_size: int,
    dropout_rate: float,
    vanilla: float | None = None,
    advprop: float | None = None,
    **known: Any,
) -> NamedNetwork:
    """The top-1 of vanilla and AdvProp is that of figure 4 and of the table in the talk.

    The paper trained its other schemes with PGD5 only, which is not the attack of B0 to B3 here, so their top-1 is left
    out.
    """
    top1 = {"vanilla": vanilla, "advprop": advprop}
    return NamedNetwork(
        NetworkSpec(f"efficientnet-{suffix}", image_size, width, depth, dropout_rate),
        published_top1={scheme: percent for scheme, percent in top1.items() if percent is not None},
        **known,
    )


_B0_MEASURED = {
    "digits": "top-1 of 95 % or more (99.2 % measured)",
    "cifar10": "top-1 of about 60 % after 2 epochs (63.5 % measured)",
}
_B7_MEASURED = {"digits": "top-1 far above the 10 % of chance (90.6 % measured)"}

FAMILY = Family(
    builder="efficientnet:EfficientNet",
    networks=(
        _named("b0", 1.0, 1.0, 224, 0.2, 77.3, 77.6, attack=PGD1, measured=_B0_MEASURED),
        _named("b1", 1.0, 1.1, 240, 0.2, 79.2, 79.6, attack=PGD1),
        _named("b2", 1.1, 1.2, 260, 0.3, 80.3, 80.5, attack=PGD1),
        _named("b3", 1.2, 1.4, 300, 0.3, 81.7, 81.9, attack=PGD4),
        _named("b4", 1.4, 1.8, 380, 0.4, 83.0, 83.3),
        _named("b5", 1.6, 2.2, 456, 0.4, 83.7, 84.3, is_deep=True),
        _named("b6", 1.8, 2.6, 528, 0.5, 84.2, 84.8, is_deep=True),
        _named("b7", 2.0, 3.1, 600, 0.5, 84.5, 85.2, is_deep=True, measured=_B7_MEASURED),
        _named("b8", 2.2, 3.6, 672, 0.5, 84.8, 85.5, is_deep=True),
        # Not a network of the paper; listed because there are Noisy Student weights for it.
        _named("l2", 4.3, 5.3, 800, 0.5, is_deep=True),
    ),
    # As in the paper: the settings of EfficientNet, with AutoAugment.
    imagenet=ImagenetTraining(
        data=dataclasses.replace(IMAGENET, augment_name="autoaugment"),
        optimizer=OptimizerSpec(),
        train_batch_size=2048,
        train_epochs=350.0,
        label_smoothing=0.1,
        # As in the official trainer.
        steps_per_eval=6255,
        steps_per_checkpoint=1251,
        source="Xie et al., CVPR 2020, figure 4; constants of the official EfficientNet trainer",
        hardware="TPU v3 pod slice (the official default is 32 cores)",
        top1_note=" with AutoAugment",
    ),
)
