"""The losses of a compiled Keras model, example by example."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.attacks import LossFunction, random_classes_outside
from efficientnet_advprop.recipes import AttackSpec

Loss = str | Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | tf.keras.losses.Loss
_MEANS = ("auto", "sum_over_batch_size")
_SPARSE = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
_CATEGORICAL = ("categorical_crossentropy", "CategoricalCrossentropy", *_SPARSE)


class ExampleLoss:
    """The weighted sum of the losses of all outputs, of each example by itself.

    Args:
        loss: as for `Model.compile`: one for all outputs, a list of one per output, or a dictionary by output name.
        loss_weights: as for `Model.compile`.
        model: its outputs.

    Raises:
        ValueError: if there is no loss, an unknown output name, or a loss that is not a mean over examples.
    """

    def __init__(self, loss: Any, loss_weights: Any, model: tf.keras.Model) -> None:
        output_names = self._names = names_of_outputs(model)
        # Of a subclassed model, whose outputs are not known, they are taken for [B, K].
        ranks = {output.shape.rank for output in tf.nest.flatten(getattr(model, "output", None)) if output is not None}
        self._of_examples = ranks <= {2}
        self._losses = [_resolved(given) for given in _by_output(loss or None, output_names, "loss")]
        given_weights = (
            [None] * len(self._names)
            if loss_weights is None
            else _by_output(loss_weights, output_names, "loss_weights")
        )
        self._loss_weights = [1.0 if weight is None else weight for weight in given_weights]
        if all(each is None for each in self._losses):
            raise ValueError("there is no loss to increase: compile(loss=...)")

    @property
    def categorical(self) -> bool:
        """Whether there is one output [B, K], and its loss is a cross-entropy with a class."""
        return self._of_examples and len(self._losses) == 1 and _name(self._losses[0]) in _CATEGORICAL

    def __call__(self, labels: Any, outputs: Any, weights: Any = None) -> tf.Tensor:
        """The losses [B] of labels and outputs in the structure that the model has, times sample weights.

        Raises:
            ValueError: for a loss that has no value for each example.
        """
        total = tf.constant(0.0)
        flat = (
            self.by_output(labels),
            tf.nest.flatten(outputs),
            self.by_output(weights),
            self._losses,
            self._loss_weights,
        )
        for label, output, weight, loss, loss_weight in zip(*flat, strict=True):
            if loss is None or label is None:
                continue
            values = _values(loss, label, output)
            if values.shape.rank == 0:
                raise ValueError(f"the loss {_name(loss)} gives one value for a batch: it must give one per example")
            values = weighted(tf.cast(values, tf.float32), weight)
            total += loss_weight * tf.reduce_mean(values, axis=list(range(1, values.shape.rank)))
        return total

    def one_hot(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The labels as float32 [B, K] of a categorical model's outputs [B, K]."""
        if self._is_sparse():
            return tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), outputs.shape[-1])
        return tf.cast(labels, tf.float32)

    def logits(self, outputs: tf.Tensor) -> tf.Tensor:
        """Logits, float32 [B, K], of a categorical model's outputs: those, or the logarithms of probabilities."""
        outputs = tf.cast(outputs, tf.float32)
        if _from_logits(self._losses[0]):
            return outputs
        return tf.math.log(tf.maximum(outputs, tf.keras.backend.epsilon()))

    def attacked(
        self, predict: Callable[[tf.Tensor], Any], labels: Any, spec: AttackSpec, seed: tf.Tensor
    ) -> LossFunction:
        """The loss [B] that an attack maximises, as a function of the images; see `attacks.attack_loss`.

        Args:
            predict: images [B, H, W, C] in [0, 255] -> outputs.
            labels: as for `__call__`.
            spec: only its `target` is used.
            seed: [2], of random targets.
        """
        if spec.target == "untargeted":
            return lambda images: self(labels, predict(images))

        def towards_another_class(images: tf.Tensor) -> tf.Tensor:
            outputs = predict(images)
            target = random_classes_outside(self.one_hot(labels, outputs), seed)
            return -self(target if self._is_sparse() else tf.one_hot(target, outputs.shape[-1]), outputs)

        return towards_another_class

    def _is_sparse(self) -> bool:
        return _name(self._losses[0]) in _SPARSE

    def by_output(self, given: Any) -> list[Any]:
        """One value per output; as in Keras one that is not nested is for all outputs."""
        if isinstance(given, Mapping):
            return [given.get(name) for name in self._names]
        return tf.nest.flatten(given) if tf.nest.is_nested(given) else [given] * len(self._names)


def weighted(values: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Losses [B, ...] times sample weights: [B], [B, 1] or of the rank of the losses."""
    if weights is None:
        return values
    weights = tf.cast(weights, values.dtype)
    if weights.shape.rank == values.shape.rank + 1:
        weights = tf.squeeze(weights, -1)
    while weights.shape.rank < values.shape.rank:
        weights = weights[..., tf.newaxis]
    return values * weights


def _by_output(given: Any, names: Sequence[str], what: str) -> list[Any]:
    """One value per output."""
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ValueError(f"{what} names no output {unknown[0]!r}; outputs: {', '.join(names)}")
        return [given.get(name) for name in names]
    values = list(given) if isinstance(given, list | tuple) else [given] * len(names)
    if len(values) != len(names):
        raise ValueError(f"{what} has {len(values)} values for {len(names)} outputs: {', '.join(names)}")
    return values


def _resolved(given: Loss | None) -> Callable[..., tf.Tensor] | None:
    loss = tf.keras.losses.get(given)
    reduction = getattr(loss, "reduction", "auto")
    if reduction not in _MEANS:
        raise ValueError(
            f"the loss {_name(loss)} has the reduction {reduction!r}: AdvProp adds means over examples, "
            "so it must be 'sum_over_batch_size' or 'auto'"
        )
    return loss


def _name(loss: Any) -> str:
    return getattr(loss, "__name__", type(loss).__name__)


def _from_logits(loss: Any) -> bool:
    return isinstance(loss, tf.keras.losses.Loss) and bool(loss.get_config().get("from_logits", False))


def _values(loss: Callable[..., tf.Tensor], labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    labels = tf.convert_to_tensor(labels)
    if outputs.dtype.is_floating and labels.dtype.is_floating:
        labels = tf.cast(labels, outputs.dtype)
    if labels.shape.rank is not None and labels.shape.rank == outputs.shape.rank - 1 and outputs.shape[-1] == 1:
        labels = labels[..., tf.newaxis]
    return loss.call(labels, outputs) if isinstance(loss, tf.keras.losses.Loss) else loss(labels, outputs)


def names_of_outputs(model: tf.keras.Model) -> list[str]:
    """The names by which losses and labels may be given, in the order of the flat outputs.

    A subclassed model has one output as far as this can know.
    """
    if isinstance(getattr(model, "output", None), Mapping):
        return sorted(model.output)
    return list(getattr(model, "output_names", None) or ["output"])
