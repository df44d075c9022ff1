"""What a study observes of a network: which runs, gradients, running statistics."""

import numpy as np

from efficientnet_advprop.evaluation import (
    IMAGES,
    has_to_be_observed,
    kinds_not_observed,
    loss_gradients,
    read_observations,
    running_statistics,
    write_observation,
)
from efficientnet_advprop.recipes import StudySpec, plan
from tests.small import small_model
from tests.studies import make_recipe


def longer_recipe(model, scheme, changes):
    return make_recipe(model, scheme, {**changes, "train_epochs": 9.0})


def test_the_first_run_of_a_kind_is_observed(tmp_path):
    trials = plan(StudySpec(("efficientnet-b0",), ("vanilla", "joint", "advprop"), 2), make_recipe)
    folder, arrays = str(tmp_path), {IMAGES: np.zeros((1, 2, 2, 3), np.uint8)}
    vanilla, joint, advprop, budget, *_, advprop_again, _ = trials
    wanted = [has_to_be_observed(folder, trial, trials) for trial in (vanilla, joint, advprop, budget)]
    assert wanted == [True, False, True, False]
    assert kinds_not_observed(folder, trials) == [("efficientnet-b0", "vanilla"), ("efficientnet-b0", "advprop")]
    write_observation(folder, advprop_again, arrays)  # the first one diverged, say
    assert not has_to_be_observed(folder, advprop, trials)
    assert has_to_be_observed(folder, vanilla, trials)
    assert kinds_not_observed(folder, trials) == [("efficientnet-b0", "vanilla")]
    assert {trial: list(found) for trial, found in read_observations(folder, trials).items()} == {
        advprop_again: [IMAGES]
    }
    other = plan(StudySpec(("efficientnet-b0",), ("vanilla", "joint", "advprop"), 2), longer_recipe)
    assert read_observations(folder, other) == {}  # kept of another recipe
    assert has_to_be_observed(folder, other[2], other)


def test_gradients_are_of_single_images_and_statistics_of_single_branches():
    model = small_model()
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    labels = np.array([1, 2, 3])
    together = loss_gradients(model, images, labels, "auxiliary")
    alone = loss_gradients(model, images[1:2], labels[1:2], "auxiliary")
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-3, atol=1e-7)
    assert np.abs(together - loss_gradients(model, images, labels, "main")).max() > 0
    statistics = running_statistics(model, ("main", "auxiliary"), 3)
    layers = list(dict.fromkeys(name.split("/")[0] for name in statistics))
    assert layers[0] == "stem.norm"
    assert layers[-1] == "head.norm"
    assert len(statistics) == 3 * 2 * 2
    expected = model.weights_by_path()["stem.norm.norms.auxiliary.moving_variance"]
    np.testing.assert_array_equal(statistics["stem.norm/auxiliary/moving_variance"], expected)
