"""The two TF Hub modules for images: classification and feature vector.

By the conventions of https://www.tensorflow.org/hub/common_saved_model_apis/images and
https://www.tensorflow.org/hub/reusable_saved_models, a module takes float32 images in [0, 1], can be fine-tuned, and is
published as a `.tar.gz` with a page of documentation.
"""

import dataclasses
import os
import tarfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from efficientnet_advprop.export.checks import checked_unit_range
from efficientnet_advprop.export.description import DESCRIPTION_FILE, Description, model_card
from efficientnet_advprop.export.saved_model import stored_variables, write_labels
from efficientnet_advprop.export.served import ExportError, ServedNetwork
from efficientnet_advprop.export.versions import files_of
from efficientnet_advprop.files import write_atomic
from efficientnet_advprop.paths import plain_path
from efficientnet_advprop.recipes import KERAS_PREFIX

CLASSIFICATION, FEATURE_VECTOR = "classification", "feature_vector"

_IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
_FEATURE_TOLERANCE = 1e-4  # of the largest feature
_SPELLINGS = {"efficientnet": "EfficientNet", "resnet": "ResNet", "resnext": "ResNeXt"}


class HubModule(tf.Module):
    """A reusable SavedModel: `module(images, training=False)` with images float32 [N, H, W, 3] in [0, 1].

    With training=True batch norms use the batch's statistics and update their moving statistics, and dropout (before
    the classifier) and stochastic depth draw new masks in every call.

    Attributes:
        variables: all that the module uses.
        trainable_variables: those to fine-tune.
        regularization_losses: functions without arguments: the weight decay of training, if it had any.

    Args:
        served: the network.
        kind: CLASSIFICATION for logits [N, K], FEATURE_VECTOR for pooled features [N, F] without dropout.
    """

    # Attributes instead of tf.Module's properties, because a SavedModel stores attributes only.
    variables: Sequence[tf.Variable] = ()
    trainable_variables: Sequence[tf.Variable] = ()

    def __init__(self, served: ServedNetwork, kind: str) -> None:
        super().__init__()
        model = served.model
        branch = model.branches[0]
        function = model if kind == CLASSIFICATION else model.features
        left_out = [] if kind == CLASSIFICATION else model.classifier.variables

        def kept(variables: list[tf.Variable]) -> list[tf.Variable]:
            return [variable for variable in variables if not any(variable is other for other in left_out)]

        def call(images: tf.Tensor, training: bool = False) -> tf.Tensor:
            # Without a seed: a constant one would draw the same masks of dropout and stochastic depth in every step.
            return function(checked_unit_range(images) * 255.0, training=training, branch=branch)

        def weight_decay() -> tf.Tensor:
            decayed = kept(model.decayed_variables(served.decays_batch_norm))
            return served.weight_decay * tf.add_n([tf.nn.l2_loss(variable) for variable in decayed])

        self.variables = kept(model.variables)
        self.trainable_variables = kept(model.trainable_variables)
        losses = [weight_decay] if served.weight_decay else []
        self.regularization_losses = [tf.function(loss, input_signature=[], autograph=False) for loss in losses]
        self.__call__ = tf.function(call, autograph=False)
        for training in (False, True):
            self.__call__.get_concrete_function(_IMAGES, training=training)


def write_hub_modules(served: ServedNetwork, folder: str) -> None:
    """Write `classification/` and `feature_vector/`, each with a `.tar.gz` and a `.md`, and compare with the network.

    Raises:
        ExportError: when a module's outputs or variables differ from the trained network's.
    """
    description = dataclasses.replace(served.description, input_range=(0, 1))
    for kind in (CLASSIFICATION, FEATURE_VECTOR):
        module_folder = os.path.join(folder, kind)
        module = HubModule(served, kind)
        tf.saved_model.save(module, module_folder)
        loaded = tf.saved_model.load(plain_path(module_folder))
        stored = stored_variables(module_folder)
        if len(stored) != len(module.variables) or len(loaded.variables) != len(module.variables):
            raise ExportError(f"the {kind} module holds {len(stored)} variables instead of {len(module.variables)}")
        _require_equal_outputs(loaded, kind, served)
        write_atomic(os.path.join(module_folder, DESCRIPTION_FILE), description.to_json())
        if kind == CLASSIFICATION:
            write_labels(served, module_folder)
        _write_archive(module_folder)
        write_atomic(
            os.path.join(folder, f"{kind}.md"),
            _documentation(kind, description, served.model.classifier.kernel.shape[0]),
        )


def _require_equal_outputs(loaded: HubModule, kind: str, served: ServedNetwork) -> None:
    outputs = loaded(tf.constant(served.examples / 255), training=False)
    if kind == CLASSIFICATION:
        served.require_equal(tf.nn.softmax(outputs), f"the {kind} module")
        return
    features, _ = served.outputs(served.examples)
    difference = np.max(np.abs(outputs - features)) / np.max(np.abs(features))
    if not difference <= _FEATURE_TOLERANCE:
        raise ExportError(f"features of the {kind} module differ by {difference:.2g} of the largest")


def _write_archive(folder: str) -> None:
    """Write `folder.tar.gz`, with the module at its root and without owners and times."""
    with tf.io.gfile.GFile(f"{folder}.tar.gz", "wb") as file, tarfile.open(fileobj=file, mode="w|gz") as archive:
        for path in files_of(folder):
            member = tarfile.TarInfo(os.path.relpath(path, folder))
            member.size = tf.io.gfile.stat(path).length
            with tf.io.gfile.GFile(path, "rb") as content:
                archive.addfile(member, content)


def _documentation(kind: str, description: Description, num_features: int) -> str:
    """The module's page: the header of TF Hub's documentation format, then its model card."""
    model = description.model.removeprefix(KERAS_PREFIX)
    architecture = model
    for lower, spelled in _SPELLINGS.items():
        architecture = architecture.replace(lower, spelled)
    name = f"{model.replace('-', '_')}_{kind}"
    task = f"image {kind.replace('_', ' ')}"
    outputs = (
        f"features [N, {num_features}]" if kind == FEATURE_VECTOR else f"logits [N, {len(description.class_names)}]"
    )
    size = description.input_image_size
    noise = "stochastic depth is on" if kind == FEATURE_VECTOR else "stochastic depth and dropout are on"
    interface = f"""\
```python
layer = hub.KerasLayer("{name}", trainable=True)  # trainable=False: frozen
outputs = layer(images)  # float32 [N, H, W, 3] in [0, 1], trained at {size} x {size} -> {outputs}, float32
```

Values far outside [0, 1] are refused. With training=True batch norms update their moving statistics, and {noise}.
`regularization_losses`, which `hub.KerasLayer` adds to the model's losses, holds training's weight decay."""
    return f"""# Module {name}/1

{architecture} of the training scheme {description.scheme or "not known"}, for {task}.

<!-- asset-path: {kind}.tar.gz -->
<!-- task: image-{kind.replace("_", "-")} -->
<!-- network-architecture: {model} -->
<!-- dataset: {description.dataset or "not known"} -->
<!-- fine-tunable: true -->
<!-- format: saved_model_2 -->

{model_card(description, interface, heading="##")}"""
