"""A second view of any functional or Sequential Keras model: the same layers, with norms of its own."""

import dataclasses
from collections.abc import Iterator, Sequence

import tensorflow as tf

from efficientnet_advprop.recipes import AUXILIARY_BRANCH

Layer = tf.keras.layers.Layer

# SyncBatchNormalization is no subclass of BatchNormalization.
BATCH_NORMS = (tf.keras.layers.BatchNormalization, tf.keras.layers.experimental.SyncBatchNormalization)
OTHER_NORMS = (tf.keras.layers.LayerNormalization, tf.keras.layers.GroupNormalization)


@dataclasses.dataclass(frozen=True)
class View:
    """A model and its view through another branch's norms.

    `model` is a Keras model like any other: called, saved and loaded without anything of this package. It shares every
    variable with `main` but those of the norms.

    Args:
        main: the user's model; nothing in it changes.
        model: the view. It takes and gives what `main` does.
        norms: each norm of `main` with its partner in the view.
    """

    main: tf.keras.Model
    model: tf.keras.Model
    norms: tuple[tuple[Layer, Layer], ...]

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of the view's own norms, in the order of `norms`: gamma, beta, moving statistics of each."""
        return [variable for _, partner in self.norms for variable in partner.weights]

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """Those of `variables` whose partners `main` trains."""
        trained = {variable.ref() for variable in self.main.trainable_variables}
        return [
            variable
            for norm, partner in self.norms
            for original, variable in zip(norm.weights, partner.weights, strict=True)
            if original.ref() in trained
        ]

    def follow_trainable(self) -> None:
        """Make each norm of the view trainable if its partner is.

        Keras' batch norm that is not trainable uses its moving statistics in training too. Call this after every
        change of `trainable` in the main model, as `compile` must be.
        """
        for norm, partner in self.norms:
            partner.trainable = norm.trainable

    def training_norms(self) -> list[Layer]:
        """The main model's norms that differ between the branches once trained.

        Not among them: norms that are not trainable, and those under a model called with training=False (as Keras'
        guide to transfer learning does). If none is left, the view stays equal to the main model.
        """
        called = {id(layer) for layer in _called_in_training(self.model)}
        return [norm for norm, partner in self.norms if norm.trainable and id(partner) in called]


def auxiliary_view(
    model: tf.keras.Model, branch: str = AUXILIARY_BRANCH, norm_classes: Sequence[type[Layer]] = BATCH_NORMS
) -> View:
    """A second view of a model: every layer is shared but the norms, which are copied with their variables' values.

    "Adversarial Examples Improve Image Recognition" (arXiv 1911.09665) trains one network through two sets of batch
    norms. The main model keeps its own and stays as it is: its layers, config, weights and saved files are the same
    as before. Keep the view: every one adds an inbound node to each shared layer.

    Args:
        model: functional or Sequential, built. Nested functional and Sequential models are viewed too. With losses of
            `model.add_loss(tensor)` a view trains, but Keras cannot load its files; those of the main model are sound.
        branch: appended to the names of the view and of its norms: MODEL_BRANCH.
        norm_classes: the layers to copy, subclasses included: BatchNormalization and SyncBatchNormalization unless
            given. Networks without batch norms may have LayerNormalization or GroupNormalization copied.

    Raises:
        ValueError: for a model that is not built, not functional or Sequential, or has no such norms; and for a norm
            inside another layer, where the view cannot replace it.
    """
    if not isinstance(branch, str) or not branch.isidentifier():
        raise ValueError(f"branch {branch!r} must be letters, digits and underscores: it becomes part of names")
    kinds = tuple(norm_classes)
    if not kinds or not all(isinstance(kind, type) and issubclass(kind, Layer) for kind in kinds):
        raise ValueError(f"norm_classes {kinds} must be classes of layers, such as tf.keras.layers.LayerNormalization")
    check_graph(model)
    norms = _norms(model, kinds)
    taken = {layer.name for layer in model.submodules if isinstance(layer, Layer)}
    with model.distribute_strategy.scope():
        partners = {id(norm): _new_norm(norm, branch, taken) for norm in norms}
        view = _clone(model, dict(partners), kinds)
        # Keras offers no public way to name a clone.
        view._name = f"{model.name}_{branch}"
        if not view.built:  # a Sequential model that was built from the shape of its first inputs
            view.build(model.input_shape)
        pairs = tuple((norm, partners[id(norm)]) for norm in norms)
        for norm, partner in pairs:
            partner.set_weights(norm.get_weights())
    return View(model, view, pairs)


def is_graph(layer: tf.Module) -> bool:
    """Whether a layer is a functional or Sequential model, whose layers and their calls are known."""
    return isinstance(layer, tf.keras.Model) and layer._is_graph_network


def check_graph(model: tf.keras.Model) -> None:
    """Refuse a model that is not functional or Sequential, or not built.

    Raises:
        ValueError: says which, and what to do.
    """
    if is_graph(model):
        return
    if isinstance(model, tf.keras.Sequential):
        raise ValueError(
            f"the Sequential model {model.name!r} has no shape of inputs yet: "
            "add a tf.keras.Input as its first layer, or call build(input_shape)"
        )
    name = getattr(model, "name", type(model).__name__)
    raise ValueError(
        f"{name!r} ({type(model).__name__}) is not a functional or Sequential Keras model, so its calls are not known: "
        "build it as tf.keras.Model(inputs, outputs), or put AuxBatchNormalization into it by hand"
    )


def _norms(model: tf.keras.Model, kinds: tuple[type[Layer], ...]) -> list[Layer]:
    """The norms of a model and its nested models, each once.

    Raises:
        ValueError: if there is none, or one is not in the graph of layers.
    """
    norms = list({id(norm): norm for norm in _visible_norms(model, kinds)}.values())
    names = " or ".join(kind.__name__ for kind in kinds)
    seen = {id(norm) for norm in norms}
    stray = [module.name for module in model.submodules if isinstance(module, kinds) and id(module) not in seen]
    if stray:
        raise ValueError(f"{model.name!r} holds {stray[0]!r}, which is not one of its layers: remove that attribute")
    if not norms:
        others = sorted({kind.__name__ for kind in OTHER_NORMS for module in model.submodules if type(module) is kind})
        advice = (
            f"it has {', '.join(others)}: name those in norm_classes" if others else "put one behind each convolution"
        )
        raise ValueError(
            f"{model.name!r} has no {names}, and AdvProp gives adversarial images norms of their own: {advice}"
        )
    return norms


def _visible_norms(model: tf.keras.Model, kinds: tuple[type[Layer], ...]) -> Iterator[Layer]:
    for layer in model.layers:
        if isinstance(layer, kinds):
            if layer.inbound_nodes:  # an attribute of the model is among its layers too
                yield layer
        elif is_graph(layer):
            yield from _visible_norms(layer, kinds)
        else:
            hidden = next((module for module in layer.submodules if isinstance(module, kinds)), None)
            if hidden is not None:
                raise ValueError(
                    f"the layer {layer.name!r} ({type(layer).__name__}) holds the norm {hidden.name!r}, which a view "
                    "cannot replace there: call the norm as a layer of the functional model"
                )


def _new_norm(norm: Layer, branch: str, taken: set[str]) -> Layer:
    """A norm like another, not built yet, with a name that no layer has (H5 files need that); `taken` grows by it."""
    name = base = f"{norm.name}_{branch}"
    number = 1
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    taken.add(name)
    new = type(norm).from_config({**norm.get_config(), "name": name})
    for attribute in ("synchronized", "fused", "adjustment"):  # not in BatchNormalization's config
        if hasattr(norm, attribute):
            setattr(new, attribute, getattr(norm, attribute))
    return new


def _clone(model: tf.keras.Model, memo: dict[int, Layer], kinds: tuple[type[Layer], ...]) -> tf.keras.Model:
    """The model with the layers of `memo` in place of their originals; it grows by the nested models' clones."""

    def partner(layer: Layer) -> Layer:
        if id(layer) in memo:
            return memo[id(layer)]
        if not is_graph(layer) or not any(isinstance(module, kinds) for module in layer.submodules):
            return layer
        memo[id(layer)] = _clone(layer, memo, kinds)
        return memo[id(layer)]

    clone = tf.keras.models.clone_model(model, clone_function=partner)
    if type(clone).call is not type(model).call:
        raise ValueError(
            f"{model.name!r} ({type(model).__name__}) overrides `call`, which a view of its layers would lose: "
            "use it without that class, as tf.keras.Model(inputs, outputs)"
        )
    return clone


def _called_in_training(model: tf.keras.Model) -> Iterator[Layer]:
    """The layers of a view and of its nested models that are not called with training=False."""
    for layer in model.layers:
        if any(node.call_kwargs.get("training") is not False for node in layer.inbound_nodes):
            yield layer
            if is_graph(layer):
                yield from _called_in_training(layer)
