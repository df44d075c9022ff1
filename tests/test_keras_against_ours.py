"""One step of `AdvProp` on Keras' EfficientNetB0 against the step of our own network with the same weights."""

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.keras_api import AdvProp
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import AttackSpec, Term
from efficientnet_advprop.training.losses import LabelLosses
from efficientnet_advprop.training.objective import TermsObjective
from tests.small_keras import assign_to_keras

# Of Euclidean length: rounding would flip the sign of some pixels' gradients.
ATTACK = AttackSpec(method="ifgsm", norm="l2", epsilon_px=200.0, step_size_px=150.0, num_steps=2, random_start=False)


class Recorder(tf.keras.optimizers.SGD):
    """Keeps the gradients instead of following them."""

    def apply_gradients(self, grads_and_vars, *args, **kwargs):
        self.gradients = {variable.ref(): gradient for gradient, variable in grads_and_vars}


@pytest.mark.filterwarnings("ignore:.*batch norms of momentum:UserWarning")
def test_loss_and_gradients_of_b0_are_those_of_our_network():
    tf.keras.utils.set_random_seed(0)
    branches = ("main", "auxiliary")
    ours = build_model("efficientnet-b0", 10, branches, preprocessing="advprop", dropout_rate=0.0, survival_prob=1.0)
    for main, auxiliary in zip(*(ours.branch_variables(branch) for branch in branches), strict=True):
        auxiliary.assign(main)
    network = tf.keras.applications.EfficientNetB0(
        weights=None, classes=10, input_shape=(32, 32, 3), classifier_activation=None
    )
    without_dropout = tf.keras.models.clone_model(
        network,
        clone_function=lambda layer: (
            tf.keras.layers.Dropout(0.0)
            if isinstance(layer, tf.keras.layers.Dropout)
            else type(layer).from_config(layer.get_config())
        ),
    )
    variables = assign_to_keras(ours, without_dropout)
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (8, 32, 32, 3)).astype(np.float32), np.arange(8)

    terms = (Term("clean", "images", "main", 1.0), Term("adversarial", "images", "auxiliary", 1.0, ATTACK))
    objective = TermsObjective(ours, terms, LabelLosses(0.0))
    gradients, metrics = tf.function(objective.gradients)(
        {"images": tf.constant(images), "labels": tf.one_hot(labels, 10)}, tf.constant([0, 0])
    )

    # Without ImageNet weights, Keras' first layers only divide by 255: this range makes that our normalisation.
    advprop = AdvProp(without_dropout, ATTACK, pixel_range=(-255, 255))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    advprop.compile(Recorder(), loss, run_eagerly=True)
    logs = advprop.train_on_batch(2 * images - 255, labels, return_dict=True)
    for name, value in metrics.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, err_msg=name)

    (view,) = advprop._branches.views.values()
    partners = {
        main.ref(): own for norm, partner in view.norms for main, own in zip(norm.weights, partner.weights, strict=True)
    }
    paths = {variable.ref(): path for path, variable in ours.weights_by_path().items()}
    expected, actual = [], []
    for variable, gradient in zip(ours.trainable_variables, gradients, strict=True):
        path = paths[variable.ref()]
        of_main = variables[path.replace(".auxiliary.", ".main.")]
        theirs = partners[of_main.ref()] if ".auxiliary." in path else of_main
        expected.append(gradient)
        actual.append(advprop.optimizer.gradients[theirs.ref()])
    assert len(actual) == len(advprop.optimizer.gradients)
    error = tf.linalg.global_norm([a - b for a, b in zip(actual, expected, strict=True)])
    assert float(error / tf.linalg.global_norm(expected)) < 1e-4
