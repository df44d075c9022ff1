"""A Keras model and its views, or a network of ours, called by branch as the objectives call a network."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from efficientnet_advprop.batch_norm import require_keras_statistics
from efficientnet_advprop.keras_api.pixel_range import PixelRange
from efficientnet_advprop.models import Network
from efficientnet_advprop.models.auxiliary_view import View
from efficientnet_advprop.recipes import MAIN_BRANCH


class BranchViews:
    """The main model and a view of it for each other branch.

    Args:
        main: the user's model.
        views: by branch, without the main one.
        pixel_range: of the model's inputs.
    """

    def __init__(self, main: tf.keras.Model, views: Mapping[str, View], pixel_range: PixelRange) -> None:
        self.views = dict(views)
        self._models = {MAIN_BRANCH: main, **{branch: view.model for branch, view in views.items()}}
        self._pixel_range = pixel_range

    def __call__(
        self,
        images: tf.Tensor,
        training: bool = False,
        branch: str = MAIN_BRANCH,
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> Any:
        """The outputs of a branch's view on pixels [B, H, W, C] in [0, 255].

        Args:
            images: pixels.
            training: dropout and batch statistics, which update the moving statistics.
            branch: of the view.
            statistics: "update" in training and "running" otherwise: Keras' batch norms have no others.
            seed: not used; the model's own layers draw their dropout.
        """
        del seed
        require_keras_statistics(self._models[MAIN_BRANCH].name, training, statistics)
        return self._models[branch](self._pixel_range.from_pixels(images), training=training)

    def model(self, branch: str) -> tf.keras.Model:
        """The Keras model of a branch, in the range of its own inputs.

        Raises:
            ValueError: for an unknown branch.
        """
        if branch not in self._models:
            raise ValueError(f"branch {branch!r} is not among those of the scheme: {', '.join(self._models)}")
        return self._models[branch]

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """Those of the main model, then those of the other branches' norms."""
        own = [variable for view in self.views.values() for variable in view.trainable_variables]
        return [*self._models[MAIN_BRANCH].trainable_variables, *own]

    def branch_variables(self, branch: str) -> list[tf.Variable]:
        """The variables of a branch's norms."""
        if branch != MAIN_BRANCH:
            return self.views[branch].variables
        some_view = next(iter(self.views.values()))
        return [variable for norm, _ in some_view.norms for variable in norm.variables]

    def activity_losses(self, branch: str) -> list[tf.Tensor]:
        """The activity regularisation of a branch's last call, and the losses that its layers added in it."""
        return _losses(self._models[branch], of_weights=False)

    def weight_losses(self) -> list[tf.Tensor]:
        """The weight regularisation of the main model and of the other branches' norms: each variable's once."""
        norms = [partner for view in self.views.values() for _, partner in view.norms]
        return [loss for layer in (self._models[MAIN_BRANCH], *norms) for loss in _losses(layer, of_weights=True)]


class NetworkBranches:
    """A network of `build_model`, which has its branches itself; for the methods see `BranchViews`.

    Args:
        network: the user's network.
        branches: that the scheme trains.

    Raises:
        ValueError: if the network lacks one of them.
    """

    views: Mapping[str, View] = MappingProxyType({})

    def __init__(self, network: Network, branches: Sequence[str]) -> None:
        if missing := [branch for branch in branches if branch not in network.branches]:
            raise ValueError(
                f"{network.name} has no branch {missing[0]!r}: build_model({network.spec.name!r}, ..., "
                f"branches={tuple(branches)})"
            )
        self._network = network
        self.branch_variables = network.branch_variables

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """Those of the network."""
        return self._network.trainable_variables

    def __call__(self, images: tf.Tensor, **arguments: Any) -> tf.Tensor:
        """The logits of a branch on pixels in [0, 255]."""
        return self._network(images, **arguments)

    def model(self, branch: str) -> Network:
        """The network, whose call takes the branch.

        Raises:
            ValueError: for another branch than the main one.
        """
        if branch != MAIN_BRANCH:
            raise ValueError(f"{self._network.name} is one model for all branches: model(images, branch={branch!r})")
        return self._network

    def activity_losses(self, branch: str) -> list[tf.Tensor]:
        """None: its layers have no activity regularisers."""
        del branch
        return []

    def weight_losses(self) -> list[tf.Tensor]:
        """None: its layers have no weight regularisers."""
        return []


def _losses(layer: tf.keras.layers.Layer, of_weights: bool) -> list[tf.Tensor]:
    """The losses of a layer that regularise its weights, or the others.

    Keras computes a weight regulariser at every reading of `losses`; the others are the tensors of the last call.
    """
    before, now = list(layer.losses), list(layer.losses)
    return [loss for loss in now if of_weights != any(loss is other for other in before)]
