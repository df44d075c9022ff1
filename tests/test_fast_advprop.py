"""Fast AdvProp: its gradient against the formulas, the number of its passes, the exchange between replicas."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import Recipe
from efficientnet_advprop.training.fast_advprop import shuffle_across_replicas
from efficientnet_advprop.training.loop import make_step_loop
from efficientnet_advprop.training.objective import Objective
from efficientnet_advprop.training.step import make_objective as objective_of_terms, make_replica_step
from tests.small import new_state, small_recipe, train_iterator, values
from tpu_utils import lower_to_hlo

SEED = tf.constant([1, 2])
NUM_ADVERSARIAL = 2

pytestmark = pytest.mark.usefixtures("two_blocks")


def fast_recipe(**changes: object) -> Recipe:
    return small_recipe("fast_advprop", network__dropout_rate=0.0, **changes)


def make_model(recipe: Recipe) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(0)
    return build_model(recipe.network, 10, ("main", "auxiliary"))


def make_objective(model: tf.keras.Model, recipe: Recipe) -> Objective:
    return objective_of_terms(model, recipe, recipe.phases[0].terms)


@pytest.fixture
def batch() -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(0)
    return {
        "images": tf.constant(rng.uniform(20, 230, (8, 16, 16, 3)), tf.float32),
        "labels": tf.one_hot(rng.integers(0, 10, 8), 10),
    }


@pytest.fixture
def calls(monkeypatch) -> list[dict]:
    """Every call of the network: its images and other arguments."""
    seen: list[dict] = []
    network = type(make_model(fast_recipe()))
    call = network.call

    def spy(model, images, **arguments):
        seen.append({"images": images, **arguments})
        return call(model, images, **arguments)

    monkeypatch.setattr(network, "call", spy)
    return seen


def gradient_of_mean_loss(model: tf.keras.Model, images: tf.Tensor, labels: tf.Tensor, branch: str):
    """Gradients for the images and for every variable, and the mean cross-entropy with label smoothing 0.1."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        log_probabilities = tf.nn.log_softmax(model(images, training=True, branch=branch, seed=SEED))
        loss = -tf.reduce_mean(tf.reduce_sum((0.9 * labels + 0.01) * log_probabilities, -1))
    by_images, by_variables = tape.gradient(
        loss, (images, model.trainable_variables), unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return by_images, dict(zip(paths(model), by_variables, strict=True)), loss


def paths(model: tf.keras.Model) -> list[str]:
    by_id = {id(variable): path for path, variable in model.weights_by_path().items()}
    return [by_id[id(variable)] for variable in model.trainable_variables]


@pytest.mark.parametrize("weights", [(1.0, 0.5, 0.5), (2.0, 0.25, 3.0)])
def test_the_gradient_follows_the_formulas(batch, calls, weights):
    """Every pass is repeated with a plain gradient tape; 2 of 8 images become adversarial."""
    clean, noise, adversarial = weights
    changes = {"term_weights__clean": clean, "term_weights__noise": noise, "term_weights__adversarial": adversarial}
    recipe = fast_recipe(**changes)
    model = make_model(recipe)
    gradients, metrics = make_objective(model, recipe).gradients(batch, SEED)
    start = calls[1]["images"]

    reference = make_model(recipe)
    images, labels = batch["images"][:NUM_ADVERSARIAL], batch["labels"][:NUM_ADVERSARIAL]
    assert 0.5 < np.abs(start - images).max() <= 1.0001
    _, main, clean_loss = gradient_of_mean_loss(reference, batch["images"][2:], batch["labels"][2:], "main")
    ascent, at_start, noise_loss = gradient_of_mean_loss(reference, start, labels, "auxiliary")
    moved = np.clip(start + np.sign(ascent), images - 1, images + 1)
    _, at_end, adversarial_loss = gradient_of_mean_loss(reference, tf.constant(moved), labels, "auxiliary")
    for path, gradient in zip(paths(model), gradients, strict=True):
        of_auxiliary = noise * at_start[path] + adversarial * at_end[path]
        expected = 0.75 * clean * main[path] + 0.25 * of_auxiliary
        if ".norms.main." in path:
            expected = clean * main[path]
        elif ".norms.auxiliary." in path:
            expected = of_auxiliary
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6, err_msg=path)
        assert np.any(gradient), path
    for name, loss in (("clean", clean_loss), ("noise", noise_loss), ("adversarial", adversarial_loss)):
        np.testing.assert_allclose(metrics[f"loss/{name}"], loss, rtol=1e-5)
    # Two passes updated the auxiliary statistics, one the main statistics.
    for path, value in values(model).items():
        np.testing.assert_allclose(value, values(reference)[path], rtol=1e-5, atol=1e-6, err_msg=path)


def test_three_passes_over_one_and_a_quarter_images_each(batch, calls):
    """There are only training passes: 6 clean images, 2 at the start and 2 after the step, 10 for a batch of 8."""
    recipe = fast_recipe()
    make_objective(make_model(recipe), recipe).gradients(batch, SEED)
    assert [(call["branch"], len(call["images"])) for call in calls] == [
        ("main", 6),
        ("auxiliary", 2),
        ("auxiliary", 2),
    ]
    assert all(call["training"] and "statistics" not in call for call in calls)


def test_the_shared_weights_follow_the_mean_over_all_images_for_every_fraction(batch):
    """With epsilon 0, equal images and equal branches the gradient does not depend on the fraction."""
    by_fraction = {}
    for fraction in (0.25, 0.5):
        recipe = fast_recipe(fast_adversarial_share=fraction, attack__epsilon_px=0.0)
        model = make_model(recipe)
        same = {**batch, "images": tf.repeat(batch["images"][:1], 8, 0), "labels": tf.repeat(batch["labels"][:1], 8, 0)}
        gradients, _ = make_objective(model, recipe).gradients(same, SEED)
        by_fraction[fraction] = {
            path: gradient
            for path, gradient in zip(paths(model), gradients, strict=True)
            if path.startswith("classifier")
        }
    for path, gradient in by_fraction[0.25].items():
        np.testing.assert_allclose(gradient, by_fraction[0.5][path], rtol=1e-4, atol=1e-6, err_msg=path)


def test_a_term_without_weight_still_makes_the_attack(batch, calls):
    recipe = fast_recipe(term_weights__noise=0.0)
    make_objective(make_model(recipe), recipe).gradients(batch, SEED)
    _, noise, adversarial = (call["images"] for call in calls)
    assert np.abs(adversarial - noise).max() > 0.5


def test_the_memory_of_a_step_is_that_of_its_largest_pass():
    objective = make_objective(make_model(fast_recipe()), fast_recipe())
    assert objective.images_at_once(80) == 64
    mostly = dataclasses.replace(fast_recipe(), fast_adversarial_share=0.75)
    assert make_objective(make_model(mostly), mostly).images_at_once(80) == 60


def test_adversarial_images_are_shuffled_across_replicas(two_replicas):
    """Each image ends on one replica with its own label; the order is a function of the seed."""

    @tf.function(autograph=False)
    def shuffle(number):
        def on_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            names = tf.cast(8 * replica + tf.range(8), tf.float32)
            seed = tf.stack([number, replica])  # differs between replicas
            batch = {"images": tf.reshape(names, [8, 1, 1, 1]), "labels": names[:, tf.newaxis]}
            return shuffle_across_replicas(batch, seed)

        return two_replicas.run(on_replica)

    def shuffled(number) -> np.ndarray:
        batch = shuffle(tf.constant(number))
        images, labels = (two_replicas.experimental_local_results(batch[name]) for name in ("images", "labels"))
        np.testing.assert_array_equal(np.concatenate(images).ravel(), np.concatenate(labels).ravel())
        return np.stack([image.numpy().ravel() for image in images])

    first = shuffled(3)
    assert sorted(first.ravel()) == list(range(16))
    assert 0 < np.sum(first[0] < 8) < 8  # images of both replicas
    np.testing.assert_array_equal(shuffled(3), first)
    assert not np.array_equal(shuffled(4), first)


def test_two_replicas_train_through_the_loop(two_replicas):
    """Images are exchanged inside the compiled step, and two runs give the same result."""
    after = []
    for _ in range(2):
        recipe = fast_recipe(train_batch_size=16, optimizer__lr_warmup_epochs=0.0)
        state = new_state(recipe, two_replicas)
        before = values(state.model)
        loop = make_step_loop(state, recipe, two_replicas, recipe.phases[0].terms, 10)
        for num_steps in (2, 1):
            loop.run(train_iterator(recipe, two_replicas), tf.constant(num_steps))
        metrics, not_finite = loop.metrics.take()
        assert not not_finite
        assert {"loss/clean", "loss/noise", "loss/adversarial", "top1/noise"} < set(metrics)
        after.append(values(state.model))
        assert all(not np.array_equal(before[path], value) for path, value in after[-1].items())
    for path, value in after[0].items():
        np.testing.assert_allclose(after[1][path], value, rtol=1e-5, atol=1e-6, err_msg=path)


def test_the_step_lowers_to_xla(batch):
    """The step of one replica can run on a TPU; the all-gather between replicas is not covered."""
    recipe = small_recipe("fast_advprop", optimizer__optimizer="rmsprop", network__survival_prob=0.8)
    state = new_state(recipe, tf.distribute.get_strategy())
    step, _ = make_replica_step(state, recipe, recipe.phases[0].terms, 1)
    assert "convolution" in lower_to_hlo(step, batch)
