"""AdvProp for any functional or Sequential Keras model, with `compile` and `fit`."""

import dataclasses
import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.keras_api.checks import (
    needs_classes,
    require_images,
    require_pixels,
    warn_of_bfloat16,
    warn_of_range,
    warn_of_small_attack,
    warn_of_train_step,
)
from efficientnet_advprop.keras_api.compiled_losses import LABELS, PASS, SAMPLE_WEIGHTS, CompiledLosses
from efficientnet_advprop.keras_api.epoch_means import EpochMeans
from efficientnet_advprop.keras_api.example_loss import ExampleLoss, names_of_outputs
from efficientnet_advprop.keras_api.norm_classes import class_named, name_of_class
from efficientnet_advprop.keras_api.pixel_range import PixelRange
from efficientnet_advprop.keras_api.schedule import FollowSchedule, Schedule, branches_of
from efficientnet_advprop.keras_api.views import BranchViews, NetworkBranches
from efficientnet_advprop.models import Network
from efficientnet_advprop.models.auxiliary_view import BATCH_NORMS, auxiliary_view
from efficientnet_advprop.randomness import replica_seed, run_seed
from efficientnet_advprop.recipes import (
    IMAGES_VIEW,
    AttackSpec,
    Term,
    TermWeights,
    family_of,
    from_values,
    scheme_named,
)
from efficientnet_advprop.training.loss_scale import ScaledLosses
from efficientnet_advprop.training.step import OBJECTIVES

Norms = Sequence[type[tf.keras.layers.Layer]]


@tf.keras.saving.register_keras_serializable(package="efficientnet_advprop")
class AdvProp(tf.keras.Model):
    """Trains a Keras model with adversarial images, through batch norms of their own.

        advprop = AdvProp(model, AttackSpec(epsilon_px=1, num_steps=1), pixel_range=(-1, 1))
        advprop.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        advprop.fit(images, labels, epochs=10)
        advprop.model.save("model.keras")

    `model` stays what it was: `evaluate`, `predict` and the call use it, with its own norms, and it is saved without
    anything of this package. All other weights are shared with the views of the other branches.

    The logs of `fit` hold `loss` (the sum that is optimised), `loss/TERM` and for classifiers `top1/TERM` of each term
    of the scheme, and the compiled metrics of the main branch's first term.

    Args:
        model: functional or Sequential, with one input of images [B, H, W, C] and batch norms; or a network of
            `build_model` with the scheme's branches.
        attack: makes the adversarial images; its lengths are pixels of [0, 255] whatever the model's range. None is
            `AttackSpec()` with the changes of the scheme.
        scheme: a key of `SCHEMES`. `fine_grained` trains on x={"images": ..., "images_augmented": ...}.
        term_weights: factors on the scheme's losses; None has the published ones.
        pixel_range: black and white in the model's inputs: two numbers, or two sequences of one per channel.
        clean_from_epoch: epoch, from 0, at which `adversarial_then_clean` switches; None is half of the epochs.
        fast_adversarial_share: fraction of each batch that `fast_advprop` makes adversarial; None is the published one.
        norm_classes: layers of which each branch has its own: batch norms unless given.
        seed: of the attacks' random starts.

    Raises:
        ValueError: for a model without such norms, of another kind or with other inputs; for settings that the scheme
            does not allow.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        attack: AttackSpec | None = None,
        scheme: str = "advprop",
        term_weights: TermWeights | None = None,
        pixel_range: Sequence[Any] | PixelRange = (0, 255),
        clean_from_epoch: int | None = None,
        fast_adversarial_share: float | None = None,
        norm_classes: Norms = BATCH_NORMS,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        with model.distribute_strategy.scope():
            super().__init__(**kwargs)
        published = scheme_named(scheme).settings_for(AttackSpec())
        self.schedule = Schedule(
            scheme,
            published["attack"] if attack is None else attack,
            published["term_weights"] if term_weights is None else term_weights,
            clean_from_epoch,
            fast_adversarial_share,
        )
        phases = self.schedule.all_phases
        require_images(model)
        warn_of_small_attack(self.schedule.attack)
        self._seed, self._pixel_range = seed, PixelRange.of(pixel_range)
        self._norm_classes = (norm_classes,) if isinstance(norm_classes, type) else tuple(norm_classes)
        self.model = model
        self.output_names = names_of_outputs(model)  # by which compiled losses and metrics may be given
        ours = isinstance(model, Network)
        if not ours or family_of(model.spec.name).of_keras:
            scheme_named(scheme).require_running_statistics(self.schedule.all_terms, model.name)
        if ours:
            require_pixels(self._pixel_range)
            self._branches = NetworkBranches(model, branches_of(phases))
        else:
            warn_of_bfloat16(model)
            warn_of_train_step(model)
            _, *others = branches_of(phases)
            views = {branch: auxiliary_view(model, branch, self._norm_classes) for branch in others}
            # Tracked by Keras: their norms are weights of this model.
            self._view_models = [view.model for view in views.values()]
            self._branches = BranchViews(model, views, self._pixel_range)
        self._terms = phases[0].terms
        # The variables are there, so that saving, loading and summary() need no call first.
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The outputs of `model`, through its own norms.

        Args:
            inputs: [B, H, W, C] in the range of the model; or a dictionary of them, of which `images` is taken.
            training: as for `model`.
        """
        return self.model(inputs[IMAGES_VIEW] if isinstance(inputs, Mapping) else inputs, training=training)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As for any Keras model. The norms of the other branches become trainable where the model's own are.

        Raises:
            ValueError: without a loss, or for one that is not a mean over examples.
        """
        super().compile(*args, **kwargs)
        given = inspect.signature(super().compile).bind(*args, **kwargs).arguments
        self._example_loss = ExampleLoss(self.loss, given.get("loss_weights"), self.model)
        if not self._example_loss.categorical and any(map(needs_classes, self.schedule.all_terms)):
            raise ValueError(
                f"scheme {self.schedule.scheme} with attack target {self.schedule.attack.target} needs a model with "
                "one output and a categorical cross-entropy as loss"
            )
        for view in self._branches.views.values():
            view.follow_trainable()
            if not view.training_norms():
                warnings.warn(
                    f"no norm of {self.model.name} is trained (frozen, or called with training=False): its branches "
                    "stay equal, and adversarial images change the shared weights alone",
                    stacklevel=2,
                )
        logged = ["loss", *self._pass_losses().metric_names(self.schedule.all_terms)]
        with self.distribute_strategy.scope():
            # In an object that Keras does not look into: these are no metrics of `evaluate`.
            self._means = EpochMeans({name: tf.keras.metrics.Mean(name) for name in logged})

    def fit(self, *args: Any, **kwargs: Any) -> tf.keras.callbacks.History:
        """As for any Keras model; the terms of the scheme follow the epochs."""
        given = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        self.schedule.phases(given.get("epochs", 1))  # refuses before anything is trained
        callbacks = given.get("callbacks") or []
        if isinstance(callbacks, tf.keras.callbacks.CallbackList):
            raise ValueError("AdvProp adds a callback of its own: give callbacks as a list, not as a CallbackList")
        callbacks = [FollowSchedule(), *(callbacks if isinstance(callbacks, list | tuple) else [callbacks])]
        warn_of_range(given.get("x"), self._pixel_range)
        return super().fit(**{**given, "callbacks": callbacks})

    def branch_model(self, branch: str) -> tf.keras.Model:
        """The Keras model of a branch: "main" is `model`; "auxiliary", where the scheme has it, its view.

        Raises:
            ValueError: for a branch that the scheme does not have.
        """
        return self._branches.model(branch)

    def train_on(self, terms: tuple[Term, ...]) -> None:
        """Train on other terms of the scheme from the next step on."""
        if terms != self._terms:
            self._terms = terms
            self.make_train_function(force=True)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update with the gradient of the scheme's terms on a batch, on one replica.

        Raises:
            ValueError: for a batch without labels, or without images that the scheme needs.
        """
        inputs, labels, weights = tf.keras.utils.unpack_x_y_sample_weight(data)
        batch = self._batch(inputs, labels, weights)
        scheme = scheme_named(self.schedule.scheme)
        objective = OBJECTIVES[scheme.objective](self._branches, self._terms, self._pass_losses(), self.schedule.share)
        gradients, metrics = objective.gradients(batch, replica_seed(run_seed(self._seed), self.optimizer.iterations))
        variables = objective.trainable_variables
        with tf.GradientTape() as tape:
            weight_losses = [tf.cast(loss, tf.float32) for loss in self._branches.weight_losses()]
            weight_loss = tf.add_n([tf.constant(0.0), *weight_losses])
        of_weights = tape.gradient(weight_loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        summands = [a + b / replicas for a, b in zip(self._unscaled(gradients), of_weights, strict=True)]
        self.optimizer.apply_gradients(zip(summands, variables, strict=True))
        loss = weight_loss
        for term in self._terms:
            # The passes of Fast AdvProp are weighted after their backward pass.
            weight = term.weight if scheme.objective == "fast_advprop" else 1.0
            loss += weight * metrics.pop(f"{PASS}/{term.name}", 0.0)
        compiled = self.get_metrics_result()
        for metric in self.compiled_loss.metrics:
            compiled.pop(metric.name, None)
        images = tf.shape(batch[self._terms[0].view])[0]
        return {**self._means.updated({"loss": loss, **metrics}, images), **compiled}

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> tf.Tensor:
        """The loss of `evaluate` and of validation: that of `model`."""
        del x
        return self.compiled_loss(y, y_pred, sample_weight, regularization_losses=self.model.losses)

    def reset_metrics(self) -> None:
        """Reset the metrics of evaluation and of training."""
        super().reset_metrics()
        if self._is_compiled:
            self._means.reset()

    def save(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Save everything, to go on with training, as `.keras`; `model.save` saves the plain model in any format.

        Raises:
            ValueError: for another format.
        """
        if not os.fspath(filepath).endswith(".keras"):
            raise ValueError(
                f"{os.fspath(filepath)}: AdvProp is saved as .keras; for another format save the plain model: "
                "advprop.model.save(...)"
            )
        super().save(filepath, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            **super().get_config(),
            "model": tf.keras.saving.serialize_keras_object(self.model),
            **dataclasses.asdict(self.schedule),
            "pixel_range": [self._pixel_range.low, self._pixel_range.high],
            "norm_classes": [name_of_class(kind) for kind in self._norm_classes],
            "seed": self._seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "AdvProp":
        """A model with these settings and new weights."""
        restored = {
            "model": tf.keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects),
            "attack": from_values(AttackSpec, config["attack"]),
            "term_weights": from_values(TermWeights, config["term_weights"]),
            "norm_classes": [class_named(name, custom_objects) for name in config["norm_classes"]],
        }
        return cls(**{**config, **restored})

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as saved, with an optimizer whose variables can be loaded."""
        self.compile(**tf.keras.saving.deserialize_keras_object(config))
        if isinstance(self.optimizer, tf.keras.optimizers.Optimizer):  # legacy ones are loaded without their slots
            self.optimizer.build(self._branches.trainable_variables)

    def _batch(self, inputs: Any, labels: Any, weights: Any) -> dict[str, Any]:
        if labels is None:
            raise ValueError("AdvProp trains on labelled images: fit(images, labels) or batches of (images, labels)")
        images = inputs if isinstance(inputs, Mapping) else {IMAGES_VIEW: inputs}
        views = {term.view for term in self._terms}
        missing = sorted(views - set(images))
        if missing:
            raise ValueError(
                f"scheme {self.schedule.scheme} needs x={{{', '.join(f'{view!r}: ...' for view in sorted(views))}}}; "
                f"{missing[0]!r} is missing"
            )
        batch = {view: self._pixel_range.to_pixels(images[view]) for view in views}
        return {**batch, LABELS: labels, **({} if weights is None else {SAMPLE_WEIGHTS: weights})}

    def _pass_losses(self) -> CompiledLosses | ScaledLosses:
        losses = CompiledLosses(
            compiled_loss=self.compiled_loss,
            example_loss=self._example_loss,
            activity_losses=self._branches.activity_losses,
            update_metrics=self.compiled_metrics.update_state,
        )
        return ScaledLosses(losses, self.optimizer.get_scaled_loss) if self._scales else losses

    @property
    def _scales(self) -> bool:
        """Whether losses are scaled, as Keras does in mixed precision with float16."""
        return isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

    def _unscaled(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        return self.optimizer.get_unscaled_gradients(gradients) if self._scales else gradients
