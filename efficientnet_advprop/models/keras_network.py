"""Networks of `tf.keras.applications` under the contract of our own: Keras' layers, our classifier, norms by branch."""

import contextvars
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.batch_norm import require_keras_statistics
from efficientnet_advprop.models.auxiliary_view import BATCH_NORMS, auxiliary_view
from efficientnet_advprop.models.network import Network
from efficientnet_advprop.models.units import Activation
from efficientnet_advprop.randomness import drawn_seed, dropout, fold
from efficientnet_advprop.recipes import KERAS_PREFIX, MAIN_BRANCH, NetworkSpec, RecipeError, network_spec

layers = tf.keras.layers
Layer = layers.Layer

# The seed [2] of the call in progress. A value belongs to one thread, and each replica is traced in its own.
_SEED: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar("seed of dropout", default=None)

# Layers whose gradient reads their input, and those whose gradient reads their output.
_READS_INPUT = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, *BATCH_NORMS, layers.Multiply)
_READS_OUTPUT = ("relu", "sigmoid")
# Layers whose output XLA keeps; it recomputes what follows them: norms, activations, gates, padding.
_IS_KEPT = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Add, layers.Concatenate)


def application(name: str) -> Callable[..., tf.keras.Model]:
    """The function of `tf.keras.applications` that builds the network `keras:NAME`."""
    return getattr(tf.keras.applications, name.removeprefix(KERAS_PREFIX))


class SeededDropout(Layer):
    """Keras' Dropout with a mask that is a function of the seed of the network's call.

    Keras draws its masks from a state that no checkpoint holds, so a resumed run would not equal an uninterrupted one.

    Args:
        rate: fraction of values that become 0.
        noise_shape: shape of the mask, with None for the size of the input, as in Keras' Dropout. [None, 1, 1, 1] drops
            whole examples (drop connect).
        place: folded into the seed; another one for each layer.
    """

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None, place: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.noise_shape, self.place = rate, noise_shape, place

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The inputs, in training with values dropped and the others scaled by 1 / (1 - rate)."""
        if not training or self.rate == 0:
            return inputs
        noise_shape = None
        if self.noise_shape is not None:
            sizes = tf.shape(inputs)
            noise_shape = [sizes[axis] if size is None else size for axis, size in enumerate(self.noise_shape)]
        seed = _SEED.get()  # None where Keras traces a layer by itself, for its SavedModel
        seed = fold(drawn_seed() if seed is None else seed, self.place)
        return dropout(inputs, self.rate, seed, noise_shape)


class BranchNorms(Layer):
    """The norms of one place of the network, by branch; the paths of their variables are `norms/BRANCH/gamma`, ..."""

    def __init__(self, norms: dict[str, Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norms = norms

    def branch_variables(self, branch: str) -> list[tf.Variable]:
        """The variables of a branch's norm.

        Raises:
            ValueError: for an unknown branch.
        """
        if branch not in self.norms:
            raise ValueError(f"unknown branch {branch!r}; known: {', '.join(self.norms)}")
        return self.norms[branch].variables


class _Graphs:
    """The functional models by branch, hidden from Keras: the paths of their variables are `KerasBackbone.layers`."""

    def __init__(self, by_branch: dict[str, tf.keras.Model]) -> None:
        self.by_branch = by_branch


class KerasBackbone(Layer):
    """A network of `tf.keras.applications` without its top, as one unit.

    Keras' own preprocessing comes first: for some networks it is a function before the model, for others layers inside.

    Args:
        spec: of the network.
        norm_options: `branches`, `momentum`, `epsilon` and `synchronized` of the batch norms.
    """

    def __init__(self, spec: NetworkSpec, norm_options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self._spec, self._options = spec, norm_options
        self._preprocess = inspect.getmodule(application(spec.name)).preprocess_input

    def build(self, input_shape: tf.TensorShape) -> None:
        """Create Keras' layers, with a second view of them for every branch after the first."""
        size, (first, *others) = self._spec.input_image_size, self._options["branches"]
        # For this size, because Keras' padding depends on whether the sides inside are odd.
        original = application(self._spec.name)(include_top=False, weights=None, input_shape=(size, size, 3))
        main = tf.keras.models.clone_model(
            original,
            input_tensors=tf.keras.Input((None, None, 3)),
            clone_function=lambda layer: self._own_layer(layer, original.layers.index(layer)),
        )
        views = {branch: auxiliary_view(main, branch) for branch in others}
        self._graphs = _Graphs({first: main, **{branch: view.model for branch, view in views.items()}})
        partners = {branch: {id(norm): other for norm, other in view.norms} for branch, view in views.items()}
        # Keras counts some names (conv2d_12) over all networks of the process, so the paths are positions.
        self.layers = {
            f"{place}_{type(layer).__name__}": layer
            if not isinstance(layer, BATCH_NORMS)
            else BranchNorms({first: layer, **{branch: of[id(layer)] for branch, of in partners.items()}})
            for place, layer in enumerate(weighted_layers(main))
        }
        self.drops = any(isinstance(layer, SeededDropout) and layer.rate > 0 for layer in main.layers)
        self.output_filters = original.output_shape[-1]
        self._activations = _activations(original)
        super().build(input_shape)

    def _own_layer(self, layer: Layer, place: int) -> Layer:
        """The layer in the place of one of Keras': norms with the spec's constants, seeded dropout."""
        config = layer.get_config()
        if isinstance(layer, BATCH_NORMS):
            options = {name: self._options[name] for name in ("momentum", "epsilon", "synchronized")}
            return layers.BatchNormalization.from_config({**config, **options})
        if isinstance(layer, layers.Dropout):
            rate, published = layer.rate, 1 - network_spec(self._spec.name).survival_prob
            if layer.noise_shape is not None:  # drop connect, whose rate rises linearly with depth
                rate *= (1 - self._spec.survival_prob) / published
            return SeededDropout(rate, layer.noise_shape, place, name=layer.name)
        if isinstance(layer, layers.Normalization) and config["mean"] is None:  # EfficientNet's without its weights
            moments = {"mean": [0.485, 0.456, 0.406], "variance": [0.229**2, 0.224**2, 0.225**2]}
            return layers.Normalization.from_config({**config, **moments, "dtype": "float32"})
        if isinstance(layer, layers.Normalization | layers.Rescaling):
            # Before them a pixel has its full range: in bfloat16 an attack's perturbation would be lost.
            return type(layer).from_config({**config, "dtype": "float32"})
        return layer

    def call(
        self,
        images: tf.Tensor,
        training: bool = False,
        branch: str = MAIN_BRANCH,
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """[B, H, W, 3] in [0, 255] -> [B, h, w, output_filters].

        Raises:
            ValueError: for an unknown branch, or for `statistics` other than "update" in training and "running"
                otherwise: Keras' batch norms have no others.
        """
        require_keras_statistics(self._spec.name, training, statistics)
        if branch not in self._graphs.by_branch:
            raise ValueError(f"unknown branch {branch!r}; known: {', '.join(self._graphs.by_branch)}")
        inputs = self._preprocess(tf.convert_to_tensor(images, tf.float32))
        token = _SEED.set(None if seed is None else fold(seed, 1))
        try:
            return self._graphs.by_branch[branch](inputs, training=training)
        finally:
            _SEED.reset(token)

    def activations(self, size: int) -> list[Activation]:
        """What the backward pass reads; the output is the last."""
        scale = size / self._spec.input_image_size
        return [one._replace(size=max(1, round(one.size * scale))) for one in self._activations]

    def layers_by_branch(self) -> list[tuple[Layer, ...]]:
        """Keras' layers with weights in their order, a norm with those of the other branches behind it."""
        return [
            tuple(layer.norms.values()) if isinstance(layer, BranchNorms) else (layer,)
            for layer in self.layers.values()
        ]


class KerasNetwork(Network):
    """A network of `tf.keras.applications`, called `keras:NAME`; its stem is all of Keras' layers.

    The arguments are those of `Network`.

    Raises:
        RecipeError: for remat: the network has no blocks to recompute.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        num_classes: int = 1000,
        branches: Sequence[str] = (MAIN_BRANCH,),
        remat: bool = False,
        **kwargs: Any,
    ) -> None:
        if remat:
            raise RecipeError(f"remat recomputes blocks, which {spec.name} does not have")
        super().__init__(spec, num_classes, branches, **kwargs)

    def make_layers(self, spec: NetworkSpec, norm_options: dict[str, Any]) -> tuple[KerasBackbone, list, None]:
        """The backbone, no blocks, no head."""
        return KerasBackbone(spec, norm_options, name="stem"), [], None

    def _pooled(
        self, images: tf.Tensor, training: bool, branch: str, statistics: str | None, seed: tf.Tensor | None
    ) -> tf.Tensor:
        outputs = self.stem(images, training=training, branch=branch, statistics=statistics, seed=seed)
        return tf.reduce_mean(outputs, axis=(1, 2))

    def _drops(self) -> bool:
        return self.stem.drops

    @property
    def _norm_layers(self) -> list[BranchNorms]:
        return [layer for layer in self.stem.layers.values() if isinstance(layer, BranchNorms)]


def weighted_layers(model: tf.keras.Model) -> list[Layer]:
    """The layers with weights, without those of the preprocessing."""
    return [layer for layer in model.layers if layer.weights and not isinstance(layer, layers.Normalization)]


def _activations(model: tf.keras.Model) -> list[Activation]:
    """The tensors that the backward pass of a functional model reads; its output is the last."""
    kept: dict[int, Any] = {}
    nodes = [node for at_depth in model._nodes_by_depth.values() for node in at_depth if not node.is_input]
    for node in nodes:
        read = [node.keras_inputs] if isinstance(node.layer, _READS_INPUT) or _is_swish(node.layer) else []
        read += [node.outputs] if _name_of_activation(node.layer) in _READS_OUTPUT else []
        kept |= {id(tensor): tensor for tensor in tf.nest.flatten(read)}
    for tensor in (*model.inputs, *model.outputs):
        kept.pop(id(tensor), None)
    makers = {id(output): node.layer for node in nodes for output in tf.nest.flatten(node.outputs)}
    return [
        Activation(_side(tensor), tensor.shape[-1], not isinstance(makers[id(tensor)], _IS_KEPT))
        for tensor in (*kept.values(), *model.outputs)
    ]


def _side(tensor: Any) -> int:
    """The side of a map of features that is a square or nearly; 1 for a vector."""
    return round(math.sqrt(math.prod(tensor.shape[1:-1])))


def _name_of_activation(layer: Layer) -> str:
    if isinstance(layer, layers.ReLU):
        return "relu"
    return getattr(getattr(layer, "activation", None), "__name__", "")


def _is_swish(layer: Layer) -> bool:
    return _name_of_activation(layer) in ("swish", "silu")
