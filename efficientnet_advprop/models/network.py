"""The base class of all networks: stem, blocks, head and classifier in sequence, with a batch norm per branch."""

import functools
import json
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from efficientnet_advprop.batch_norm import AuxBatchNormalization
from efficientnet_advprop.models.backbone import Backbone, is_symbolic
from efficientnet_advprop.models.layers import ConvNorm, build_inner, normalize, spatial_means
from efficientnet_advprop.models.rematerialization import recompute_block
from efficientnet_advprop.models.units import Activation, Block, Unit
from efficientnet_advprop.randomness import drawn_seed, dropout, fold
from efficientnet_advprop.recipes import MAIN_BRANCH, NetworkSpec, RecipeError
from efficientnet_advprop.recipes.stored import parse, to_record

SHARED = "shared"


class Network(tf.keras.Model):
    """A network with one set of batch norms per branch; all other variables are shared by the branches.

    A subclass gives its layers with `make_layers`. It is registered with Keras, so that files of its networks load.

    Args:
        spec: sizes and constants.
        num_classes: number of classes K.
        branches: names of the branches; inference uses "main".
        remat: rematerialisation: recompute each block's activations in every backward pass, also in attacks. It saves
            memory and costs one more forward pass.

    Raises:
        RecipeError: for remat with synchronised batch norms.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        tf.keras.utils.register_keras_serializable(package="efficientnet_advprop")(cls)

    def __init__(
        self,
        spec: NetworkSpec,
        num_classes: int = 1000,
        branches: Sequence[str] = (MAIN_BRANCH,),
        remat: bool = False,
        **kwargs: Any,
    ) -> None:
        if remat and spec.sync_batch_norm:
            raise RecipeError(
                "remat and sync_batch_norm exclude each other: recomputed batch statistics would be one replica's"
            )
        # No autocast: bfloat16 has 8 significant bits, too few for an attack's perturbation of a pixel. `features`
        # casts after normalising the input.
        super().__init__(autocast=False, **kwargs)
        self.spec = spec
        self.num_classes = num_classes
        self.branches = tuple(branches)
        self.remat = remat
        self._backbone: Callable[[], Backbone | None] = lambda: None
        norm_options = {
            "branches": self.branches,
            "momentum": spec.batch_norm_momentum,
            "epsilon": spec.batch_norm_epsilon,
            "synchronized": spec.sync_batch_norm,
        }
        self.stem, self.blocks, self.head = self.make_layers(spec, norm_options)
        limit = spec.classifier_init_scale / math.sqrt(num_classes)
        self.classifier = tf.keras.layers.Dense(
            num_classes, kernel_initializer=tf.keras.initializers.RandomUniform(-limit, limit), name="classifier"
        )

    def make_layers(self, spec: NetworkSpec, norm_options: dict[str, Any]) -> tuple[Unit, list[Block], ConvNorm | None]:
        """The stem, the blocks and the head, the last layer before global average pooling; None without a head.

        Args:
            spec: sizes and constants.
            norm_options: the network's arguments of `AuxBatchNormalization`.
        """
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        """Create all variables, once. They depend on numbers of channels alone, not on an image size."""
        if self.built:
            return
        channels = 3
        for layer in (self.stem, *self.blocks, *self._heads()):
            build_inner(layer, tf.TensorShape([None, None, None, channels]))
            channels = layer.output_filters
        build_inner(self.classifier, tf.TensorShape([None, channels]))
        # Not Model.build: it would trace a call only to create the variables.
        self.built = True

    # For the layers inside too: they have no control flow for AutoGraph to convert, and converting every layer is slow.
    @tf.autograph.experimental.do_not_convert
    def call(
        self,
        images: tf.Tensor,
        training: bool = False,
        branch: str = MAIN_BRANCH,
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Logits, float32 [B, K].

        Args:
            images: [B, H, W, 3] in [0, 255], float32 or of a type that converts to it.
            training: switches dropout and drop connect on.
            branch: its batch norms are used.
            statistics: "update", "running" or "batch", as in `AuxBatchNormalization.call`.
            seed: [2] of dropout and drop connect; None draws one, as in Keras' `fit`.

        Raises:
            ValueError: for an unknown branch or value of `statistics`, or when dropout or drop connect lacks a seed
                within `only_given_seeds`, as in this project's training steps.
        """
        seed = self._seed(training, seed)
        features = self._pooled(images, training, branch, statistics, seed)
        if training and self.spec.dropout_rate > 0:
            features = dropout(features, self.spec.dropout_rate, fold(seed, len(self.blocks)))
        return tf.cast(self.classifier(features), tf.float32)

    @tf.autograph.experimental.do_not_convert
    def features(
        self,
        images: tf.Tensor,
        training: bool | None = None,
        branch: str = MAIN_BRANCH,
        statistics: str | None = None,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Features [B, F] after global average pooling, before dropout and classifier; arguments as in `call`.

        In a functional model (`network.features(tf.keras.Input(...))`) they are the output of a `Backbone` layer, one
        for all calls. There `training` is that of the model's call if it is not given.
        """
        if is_symbolic(images):
            backbone = self._backbone() or Backbone(self)
            self._backbone = weakref.ref(backbone)  # it holds this network, and is no part of it
            return backbone(images, training=training, branch=branch, statistics=statistics)
        training = bool(training)
        return self._pooled(images, training, branch, statistics, self._seed(training, seed))

    def _seed(self, training: bool, seed: tf.Tensor | None) -> tf.Tensor | None:
        """The seed of a call. It is drawn here, once: blocks that are recomputed must not draw another one."""
        is_random = training and (self.spec.dropout_rate > 0 or self._drops())
        return drawn_seed() if is_random and seed is None else seed

    def _drops(self) -> bool:
        """Whether a layer before the pooling drops values in training."""
        return any(block.drops for block in self.blocks)

    def _pooled(
        self, images: tf.Tensor, training: bool, branch: str, statistics: str | None, seed: tf.Tensor | None
    ) -> tf.Tensor:
        norm_arguments = {"training": training, "branch": branch, "statistics": statistics}
        run = recompute_block if self.remat and not is_symbolic(images) else tf.keras.layers.Layer.__call__
        outputs = tf.cast(normalize(tf.cast(images, tf.float32), self.spec.preprocessing), self.compute_dtype)
        outputs = self.stem(outputs, **norm_arguments)
        for index, block in enumerate(self.blocks):
            outputs = run(
                block, outputs, **norm_arguments, seed=fold(seed, index) if training and block.drops else None
            )
        for head in self._heads():
            outputs = head(outputs, **norm_arguments)
        return spatial_means(outputs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the precision policy, and the names of frozen layers, as plain values.

        Layers are those of `layers`; that a part of one is frozen is not kept.
        """
        return {
            "name": self.name,
            "spec": to_record(self.spec),
            "num_classes": self.num_classes,
            "branches": list(self.branches),
            "remat": self.remat,
            "policy": self.dtype_policy.name,
            "frozen": [layer.name for layer in self.layers if not layer.trainable],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Network":
        """A network of `get_config`, with all its variables.

        Raises:
            RecipeError: for a specification that this version cannot read; the message names the field.
        """
        del custom_objects  # of Keras' signature: a network holds none
        arguments = dict(config)
        spec = parse(NetworkSpec, json.dumps(arguments.pop("spec")))
        policy, frozen = arguments.pop("policy"), arguments.pop("frozen")
        policy_before = tf.keras.mixed_precision.global_policy()
        tf.keras.mixed_precision.set_global_policy(policy)  # the layers take it from there
        try:
            network = cls(spec, **arguments)
            network.build()
        finally:
            tf.keras.mixed_precision.set_global_policy(policy_before)
        for layer in network.layers:
            layer.trainable = layer.name not in frozen
        return network

    @tf.autograph.experimental.do_not_convert
    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], None] | None = None,
        **kwargs: Any,
    ) -> None:
        """Print Keras' table of the layers, with output shapes for images of the network's size, and the branches.

        Arguments as in `tf.keras.Model.summary`.
        """
        images = tf.keras.Input((self.spec.input_image_size, self.spec.input_image_size, 3), name="images")
        logits = self.classifier(self._pooled(images, False, self.branches[0], None, None))
        tf.keras.Model(images, logits, name=self.name).summary(line_length, positions, print_fn, **kwargs)
        count = sum(variable.shape.num_elements() for variable in self.branch_variables(self.branches[0]))
        each = f"{len(self._norm_layers)} batch norms of {count:,} parameters"
        (print_fn or print)(f"Each branch has {each}. Branches: {', '.join(self.branches)}")

    def weights_by_path(self) -> dict[str, tf.Variable]:
        """Every variable by its object path, such as `blocks.0.expand.norm.norms.main.gamma`.

        The paths of a branch's variables and of the shared ones do not depend on the other branches.
        """
        own = {id(variable) for variable in self.variables}  # those of a compiled network's optimizer are none
        return {path: variable for path, variable in self.get_weight_paths().items() if id(variable) in own}

    def branch_variables(self, branch: str) -> list[tf.Variable]:
        """All batch-norm variables of a branch, trainable or not.

        Raises:
            ValueError: for an unknown branch.
        """
        return [variable for norm in self._norm_layers for variable in norm.branch_variables(branch)]

    def partition(self) -> dict[str, list[tf.Variable]]:
        """Every variable once: the batch-norm variables of each branch under its name, all others under "shared"."""
        branches = {branch: self.branch_variables(branch) for branch in self.branches}
        in_branches = {id(variable) for variables in branches.values() for variable in variables}
        return {SHARED: [variable for variable in self.variables if id(variable) not in in_branches], **branches}

    def decayed_variables(self, decay_batch_norm: bool = False) -> list[tf.Variable]:
        """The variables under weight decay: kernels and biases, and on request gamma and beta of every branch."""
        if decay_batch_norm:
            return self.trainable_variables
        in_branches = {id(variable) for branch in self.branches for variable in self.branch_variables(branch)}
        return [variable for variable in self.trainable_variables if id(variable) not in in_branches]

    def _heads(self) -> list[ConvNorm]:
        return [] if self.head is None else [self.head]

    @functools.cached_property  # a second of a B7 each time
    def _norm_layers(self) -> list[AuxBatchNormalization]:
        return [module for module in self.submodules if isinstance(module, AuxBatchNormalization)]

    def activations(self, image_size: int, remat: bool) -> tuple[list[Activation], list[list[Activation]]]:
        """What a training step keeps of an example for its backward pass, estimated from shapes.

        Returns:
            What is kept with remat too, which are the stem, the blocks' outputs and the head; and the insides of each
            block, of which remat keeps one at a time.
        """
        between, insides = self.stem.activations(image_size), []
        for block in self.blocks:
            *inside, output = block.activations(between[-1].size)
            insides.append(inside)
            between.append(output._replace(is_recomputed=output.is_recomputed and not remat))
        for head in self._heads():  # its output is not kept: the gradient of global average pooling reads none
            between += head.activations(between[-1].size)[:-1]
        return between, insides
