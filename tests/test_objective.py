"""The objective: the images of each branch, the total loss, the variables that an attack or a term must not change."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from efficientnet_advprop.models import build_model
from efficientnet_advprop.randomness import fold
from efficientnet_advprop.recipes import AttackSpec, Term
from efficientnet_advprop.training.losses import LabelLosses
from efficientnet_advprop.training.objective import TermsObjective, branch_passes, micro_batch_gradients
from tests.small import small_recipe, values

ATTACK = AttackSpec(epsilon_px=8.0, step_size_px=4.0, num_steps=3)
SEED = tf.constant([1, 2])
CLEAN = Term("clean", "images", "main", 1.0)
ADVERSARIAL = Term("adversarial", "images", "auxiliary", 1.0, ATTACK)

pytestmark = pytest.mark.usefixtures("two_blocks")


def make_model(remat: bool = False) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(0)
    network = dataclasses.replace(small_recipe().network, dropout_rate=0.0)
    return build_model(network, 10, ("main", "auxiliary"), remat)


@pytest.fixture
def batch() -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(0)
    return {
        "images": tf.constant(rng.uniform(0, 255, (8, 16, 16, 3)), tf.float32),
        "labels": tf.one_hot(rng.integers(0, 10, 8), 10),
    }


def moving(model: tf.keras.Model, branch: str) -> dict[str, np.ndarray]:
    return {path: value for path, value in values(model).items() if f".{branch}.moving" in path}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {path for path in before if not np.array_equal(before[path], after[path])}


def test_terms_of_one_branch_make_one_pass():
    other = Term("noisy", "images", "main", 1.0)
    passes = branch_passes((CLEAN, ADVERSARIAL, other))
    assert list(passes.items()) == [("main", (CLEAN, other)), ("auxiliary", (ADVERSARIAL,))]


def test_each_branch_gets_only_its_own_images(batch):
    """Main statistics are those of the clean batch for every attack; auxiliary statistics depend on the attack."""
    after = {}
    for name, terms in {
        "vanilla": (CLEAN,),
        "advprop": (CLEAN, ADVERSARIAL),
        "weaker": (CLEAN, dataclasses.replace(ADVERSARIAL, attack=dataclasses.replace(ATTACK, epsilon_px=1.0))),
    }.items():
        model = make_model()
        TermsObjective(model, terms, LabelLosses(0.1)).gradients(batch, SEED)
        after[name] = model
    fresh = make_model()
    for name in after:
        assert changed(moving(fresh, "main"), moving(after[name], "main")) == set(moving(fresh, "main"))
        assert not changed(moving(after["vanilla"], "main"), moving(after[name], "main"))
    assert not changed(moving(fresh, "auxiliary"), moving(after["vanilla"], "auxiliary"))
    # The weights have not changed, so all statistics are a function of the images.
    assert changed(moving(after["weaker"], "auxiliary"), moving(after["advprop"], "auxiliary")) == set(
        moving(fresh, "auxiliary")
    )


def test_auxiliary_statistics_are_those_of_the_adversarial_images(batch):
    model, reference = make_model(), make_model()
    objective = TermsObjective(model, (ADVERSARIAL,), LabelLosses(0.1))
    pass_seed = fold(SEED, 0)
    adversarial = objective._term_images(ADVERSARIAL, batch, fold(pass_seed, 0))
    assert 4 < float(tf.reduce_max(tf.abs(adversarial - batch["images"]))) <= 8.001
    objective.gradients(batch, SEED)
    reference(adversarial, training=True, branch="auxiliary")
    assert not changed(moving(reference, "auxiliary"), moving(model, "auxiliary"))


def test_an_attack_changes_no_variable_and_raises_the_loss(batch):
    model = make_model()
    # Perturbed weights: the gradients of an untrained network are too small for this bound.
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0, 0.3, variable.shape))
    for mode in ("running", "batch"):
        term = dataclasses.replace(ADVERSARIAL, attack=dataclasses.replace(ATTACK, batch_norm_mode=mode))
        before = values(model)
        adversarial = TermsObjective(model, (term,), LabelLosses(0.1))._term_images(term, batch, SEED)
        assert not changed(before, values(model))

        def loss(images, mode=mode):
            logits = model(images, branch="auxiliary", statistics=mode)
            return tf.reduce_mean(tf.keras.losses.categorical_crossentropy(batch["labels"], logits, from_logits=True))

        assert loss(adversarial) > loss(batch["images"]) + 0.1


def test_total_is_the_weighted_sum_of_the_terms_means(batch):
    """Gradient and loss of AdvProp are the weighted sums of those of its terms: a sum as in the paper, not a mean."""
    clean, adversarial = dataclasses.replace(CLEAN, weight=0.5), dataclasses.replace(ADVERSARIAL, weight=2.0)
    # The seed of a pass depends on its index: a term of weight 0 keeps the adversarial pass at index 1.
    placeholder = dataclasses.replace(CLEAN, weight=0.0)
    both, metrics = TermsObjective(make_model(), (clean, adversarial), LabelLosses(0.1)).gradients(batch, SEED)
    first, first_metrics = TermsObjective(make_model(), (CLEAN,), LabelLosses(0.1)).gradients(batch, SEED)
    second_objective = TermsObjective(make_model(), (placeholder, ADVERSARIAL), LabelLosses(0.1))
    second, second_metrics = second_objective.gradients(batch, SEED)
    for total, a, b in zip(both, first, second, strict=True):
        np.testing.assert_allclose(total, 0.5 * a + 2.0 * b, rtol=1e-4, atol=1e-6)
    assert metrics["loss/clean"] == first_metrics["loss/clean"]
    assert metrics["loss/adversarial"] == second_metrics["loss/adversarial"]


def test_terms_of_one_branch_share_the_statistics_of_their_mixture(batch):
    model, reference = make_model(), make_model()
    brighter = {**batch, "brighter": batch["images"] * 0.5 + 127}
    terms = (CLEAN, Term("bright", "brighter", "main", 1.0))
    TermsObjective(model, terms, LabelLosses(0.0)).gradients(brighter, SEED)
    reference(tf.concat([brighter["images"], brighter["brighter"]], 0), training=True, seed=SEED)
    assert not changed(moving(reference, "main"), moving(model, "main"))


def test_gradient_reaches_shared_and_own_parameters_and_no_other_branchs(batch):
    model = make_model()
    gradients, _ = TermsObjective(model, (CLEAN,), LabelLosses(0.1)).gradients(batch, SEED)
    auxiliary = {id(variable) for variable in model.branch_variables("auxiliary")}
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.any(gradient) == (id(variable) not in auxiliary)


def test_label_smoothing_acts_on_every_term(batch):
    """The clean loss against its formula; the loss of the adversarial term changes as well."""
    plain = TermsObjective(make_model(), (CLEAN, ADVERSARIAL), LabelLosses(0.0)).gradients(batch, SEED)[1]
    smooth = TermsObjective(make_model(), (CLEAN, ADVERSARIAL), LabelLosses(0.5)).gradients(batch, SEED)[1]
    logits = make_model()(batch["images"], training=True, seed=SEED)
    log_probabilities = tf.nn.log_softmax(logits)
    expected = -tf.reduce_mean(tf.reduce_sum((0.5 * batch["labels"] + 0.05) * log_probabilities, -1))
    np.testing.assert_allclose(smooth["loss/clean"], expected, rtol=1e-5)
    assert smooth["loss/adversarial"] != plain["loss/adversarial"]


def test_gradients_are_averaged_over_micro_batches(batch):
    objective = TermsObjective(make_model(), (CLEAN,), LabelLosses(0.1))
    halves = [{name: value[i : i + 4] for name, value in batch.items()} for i in (0, 4)]
    parts = [TermsObjective(make_model(), (CLEAN,), LabelLosses(0.1)).gradients(half, SEED) for half in halves]
    gradients, metrics = micro_batch_gradients(objective, batch, SEED, 2)
    for total, a, b in zip(gradients, parts[0][0], parts[1][0], strict=True):
        np.testing.assert_allclose(total, (a + b) / 2, rtol=1e-4, atol=1e-6)
    expected = (parts[0][1]["loss/clean"] + parts[1][1]["loss/clean"]) / 2
    np.testing.assert_allclose(metrics["loss/clean"], expected, rtol=1e-6)


def test_training_with_dropout_draws_other_masks_each_step(batch):
    model = build_model(small_recipe(network__dropout_rate=0.5).network, 10, ("main", "auxiliary"))
    objective = TermsObjective(model, (CLEAN,), LabelLosses(0.1))
    losses = [float(objective.gradients(batch, tf.constant([0, n]))[1]["loss/clean"]) for n in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_rematerialisation_changes_neither_attack_nor_gradients(batch):
    terms, losses = (CLEAN, ADVERSARIAL), LabelLosses(0.1)
    plain, remat = (TermsObjective(make_model(remat=remat), terms, losses) for remat in (False, True))
    attacked = [tf.function(objective._term_images)(ADVERSARIAL, batch, SEED) for objective in (plain, remat)]
    # A sign that rounding flips changes one pixel by a step; many such pixels would mean another gradient.
    assert np.mean(np.abs(attacked[0] - attacked[1]) > 1e-3) < 0.01
    gradients, recomputed = (tf.function(objective.gradients)(batch, SEED)[0] for objective in (plain, remat))
    for a, b in zip(gradients, recomputed, strict=True):
        np.testing.assert_allclose(b, a, rtol=0.05, atol=1e-4)
