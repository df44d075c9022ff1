"""Networks by name."""

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any

from efficientnet_advprop.models.efficientnet import EfficientNet as EfficientNet
from efficientnet_advprop.models.network import Network as Network
from efficientnet_advprop.models.resnet import ResNet as ResNet
from efficientnet_advprop.recipes import MAIN_BRANCH, Family, NetworkSpec, family_of, network_spec, validate_network


def network_class(family: Family) -> type[Network]:
    """The class that builds a family's networks."""
    module, name = family.builder.split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def build_model(
    network: str | NetworkSpec,
    num_classes: int = 1000,
    branches: Sequence[str] = (MAIN_BRANCH,),
    remat: bool = False,
    **overrides: Any,
) -> Network:
    """A network with all its variables.

    `model(images, training=False, branch="main", statistics=None, seed=None)` takes float32 images [B, H, W, 3] in
    [0, 255] and gives float32 logits [B, num_classes]. It is a Keras model: `fit` trains the main branch, `.keras`
    files load without `custom_objects`, and functional models call it, or its `features`, as a layer.

    Args:
        network: name or specification.
        num_classes: number of classes.
        branches: names of the batch norms.
        remat: recompute activations in the backward pass.
        **overrides: fields of `NetworkSpec` to replace, such as preprocessing="imagenet".

    Raises:
        ValueError: for an unknown name, field or preprocessing, or repeated branches; the message lists the known ones.
    """
    spec = network_spec(network) if isinstance(network, str) else network
    fields = {field.name for field in dataclasses.fields(NetworkSpec)}
    unknown = sorted(set(overrides) - fields)
    if unknown:
        raise ValueError(f"unknown network settings {', '.join(unknown)}; known: {', '.join(sorted(fields))}")
    spec = dataclasses.replace(spec, **overrides)
    validate_network(spec)
    model = network_class(family_of(spec.name))(spec, num_classes, branches, remat)
    model.build()
    return model
