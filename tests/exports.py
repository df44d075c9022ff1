"""Small trained networks of both families, ready to be exported."""

from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.export import Description, ServedNetwork, served_network
from efficientnet_advprop.models import Network, build_model, efficientnet

SIZE = 32
FAMILIES = ("efficientnet-b0", "resnet-50")
TWO = ("main", "auxiliary")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight nine", "ten")

_SMALL = {
    "efficientnet-b0": {
        "width_coefficient": 0.25,
        "depth_coefficient": 0.2,
        "dropout_rate": 0.2,
        "batch_norm_momentum": 0.9,
    },
    "resnet-50": {"width_coefficient": 0.125, "depth_coefficient": 0.25},
    "resnext-50-32x4d": {"width_coefficient": 0.125, "depth_coefficient": 0.25},
}


def new_network(family: str, branches: Sequence[str] = ("main",), num_classes: int = 10) -> Network:
    """A few narrow blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet, "_B0_STAGES", efficientnet._B0_STAGES[:3])
        return build_model(family, num_classes, branches, input_image_size=SIZE, **_SMALL[family])


def trained_network(family: str, branches: Sequence[str] = TWO, num_classes: int = 10) -> Network:
    """A network whose branches differ, as if trained, with probabilities that are neither 0 or 1 nor all equal."""
    tf.keras.utils.set_random_seed(0)
    model = new_network(family, branches, num_classes)
    rng = np.random.default_rng(0)
    for branch in branches:
        for variable in model.branch_variables(branch):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def some_images(number: int = 6) -> np.ndarray:
    """Smooth random images, float32 [N, SIZE, SIZE, 3]."""
    coarse = np.random.default_rng(1).uniform(0, 255, (number, 4, 4, 3)).astype(np.float32)
    return tf.image.resize(coarse, [SIZE, SIZE]).numpy()


def served(trained: Network, model: Network | None = None, eval_crop: str = "pad32", **changes) -> ServedNetwork:
    """The main branch of a trained network, ready to be exported."""
    model = model or new_network(trained.spec.name, ("main",), trained.num_classes)
    description = Description(
        model=trained.spec.name,
        scheme="advprop",
        dataset="digits",
        preprocessing=trained.spec.preprocessing,
        input_image_size=SIZE,
        eval_crop=eval_crop,
        resize="bicubic",
        branch="main",
        weights="averaged, of a test",
        step=7,
        metrics={"top1_main": 0.5, "top1_pgd": 0.25},
        parameters=model.count_params(),
        commit=None,
        class_names=NAMES[: trained.num_classes],
    )
    return served_network(trained, model, some_images(), description, **changes)
