"""Evaluation of a SavedModel that this project exported."""

import os
from collections.abc import Callable

import tensorflow as tf

from efficientnet_advprop.export.description import DESCRIPTION_FILE, Description
from efficientnet_advprop.files import read_or_refuse
from efficientnet_advprop.paths import plain_path
from efficientnet_advprop.recipes import MAIN_BRANCH, NETWORKS, RecipeError, WeightsFacts, first_line

_SIGNATURE = "serving_default"


class ExportedNetwork:
    """The signature `serving_default` of a SavedModel, called like a `models.Network` with one branch.

    Attributes:
        num_classes: number of classes K.
        branches: the exported branch alone.

    Args:
        folder: of the SavedModel.
        description: of the network.
    """

    def __init__(self, folder: str, description: Description) -> None:
        self.num_classes, self.branches = len(description.class_names), (description.branch,)
        self._loaded = tf.saved_model.load(plain_path(folder))  # kept, because it owns the signature's variables
        self._signature = self._loaded.signatures[_SIGNATURE]

    def __call__(
        self, images: tf.Tensor, training: bool = False, branch: str = MAIN_BRANCH, statistics: str = "running"
    ) -> tf.Tensor:
        """Logits float32 [B, K] of images [B, H, W, 3] in [0, 255].

        Raises:
            ValueError: for training, another branch or batch statistics, which a SavedModel lacks.
        """
        if training or branch not in self.branches or statistics != "running":
            raise ValueError(f"a SavedModel has no training={training}, branch={branch}, statistics={statistics}")
        # The signature refuses a batch that looks scaled to [0, 1]: no value above 1, and not all whole numbers. Dark
        # images may look so too; a white image in the batch prevents it.
        white = tf.fill(tf.concat([[1], tf.shape(images)[1:]], axis=0), 255.0)
        logits = self._signature(images=tf.concat([images, white], axis=0))["logits"]  # [B + 1, K]
        return tf.ensure_shape(logits[:-1], [images.shape[0], self.num_classes])


class ExportedWeights:
    """The weights of a SavedModel, with the interface of `models.weights.Weights`.

    Attributes:
        facts: settings that the file determines.
        origin: a short description.
        step: number of training steps; None if unknown.
        class_names: in label order.

    Args:
        folder: of one version, with `saved_model.pb` and `export.json`.

    Raises:
        RecipeError: when it was not exported by this project for serving.
    """

    def __init__(self, folder: str) -> None:
        description = read_description(folder)
        self._folder, self.step, self.class_names = folder, description.step, description.class_names
        self.description = description
        branch = "" if description.branch == MAIN_BRANCH else f", {description.branch} branch"
        self.origin = f"SavedModel of {description.model}{branch}, {description.weights}"
        hints = {
            "network.input_image_size": description.input_image_size,
            "data.eval_crop": description.eval_crop,
            "data.resize": description.resize,
        }
        settings = {"network.name": description.model, "network.preprocessing": description.preprocessing, **hints}
        # A value with blanks describes a folder of images, which is not a data set's name.
        dataset = None if description.dataset is None or " " in description.dataset else description.dataset
        self.facts = WeightsFacts(
            folder,
            settings,
            len(description.class_names),
            hinted=tuple(hints),
            dataset=dataset,
            scheme=description.scheme,
            is_graph=True,
        )

    def read(
        self, make_model: Callable[[], tf.keras.Model], ema: bool = True, allow_extra_variables: bool = False
    ) -> tuple[ExportedNetwork, list[str]]:
        """The network, with its variables placed by the current strategy, and no notes.

        The arguments are not used: the SavedModel holds the graph, and one set of weights.

        Raises:
            RecipeError: when it cannot be loaded.
        """
        del make_model, ema, allow_extra_variables
        try:
            return ExportedNetwork(self._folder, self.description), []
        except Exception as error:  # TensorFlow raises a dozen types for a damaged graph and for cut variables
            raise RecipeError(f"cannot load {self._folder}: {first_line(error)}; export the network again") from error


def is_saved_model(path: str) -> bool:
    """Whether a folder holds a SavedModel."""
    return tf.saved_model.contains_saved_model(path)


def read_description(folder: str) -> Description:
    """The description of a SavedModel that this project exported for serving.

    Raises:
        RecipeError: when it is another one.
    """
    path = os.path.join(folder, DESCRIPTION_FILE)
    if not tf.io.gfile.exists(path):
        raise RecipeError(f"{folder} is a SavedModel without {DESCRIPTION_FILE}: it was not exported by this project")
    description = read_or_refuse(path, Description.from_json, "export the network again")
    if description.input_range != (0, 255):
        raise RecipeError(f"{folder} is a TF Hub module: export the network with --export_format=saved_model")
    if description.model not in NETWORKS:
        raise RecipeError(f"{path} names an unknown network {description.model}")
    return description
