"""AutoAttack against what can be computed by hand: the robustness of linear networks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import flags
from efficientnet_advprop.evaluation import autoattack, find_sets, plan_passes
from efficientnet_advprop.evaluation.autoattack import STAGES, AutoAttackCollector, logits_under_autoattack
from efficientnet_advprop.modes.benchmarks import refuse_replicas
from efficientnet_advprop.recipes import BENCHMARKS, BenchmarkSpec, RecipeError, named_recipe, override
from efficientnet_advprop.reporting import evaluation_table, write_evaluation_figures, write_evaluation_report
from tests.command_line import set_flags
from tests.made_up_results import attacked, part, results_in

# What PyTorch built for GPUs says on a machine without one.
pytestmark = pytest.mark.filterwarnings("ignore:CUDA initialization:UserWarning")

SPEC = BenchmarkSpec(("pgd", "autoattack"))
CLASSES, SIDE = 5, 25
PIXELS = 3 * SIDE**2


@pytest.fixture
def library(monkeypatch):
    """The optional packages; with fewer steps than the standard version has."""
    pytest.importorskip("pyautoattack", reason="pip install '.[autoattack]'", exc_type=ImportError)
    standard = autoattack._standard_attacks

    def short(*arguments):
        attacks = standard(*arguments)
        for stage in STAGES[:3]:
            attacks[stage].n_iter = 10
        attacks["autoattack"].n_queries = 20
        return attacks

    monkeypatch.setattr(autoattack, "_standard_attacks", short)


def test_the_attacks_are_those_of_the_standard_version():
    """As the authors' README states them."""
    pytest.importorskip("pyautoattack", reason="pip install '.[autoattack]'", exc_type=ImportError)
    for num_classes, targets in ((1000, 9), (10, 9), (4, 3)):
        ce, targeted, fab, square = autoattack._standard_attacks(None, "linf", 51.0, num_classes).values()
        assert (ce.loss, ce.n_iter, ce.n_restarts, ce.norm, ce.eps) == ("ce", 100, 1, "Linf", 0.2)
        assert (targeted.loss, targeted.n_iter, targeted.n_restarts) == ("dlr-targeted", 100, 1)
        assert (fab.targeted, fab.n_iter, fab.n_restarts, fab.eps) == (True, 100, 1, 0.2)
        assert targeted.n_target_classes == fab.n_target_classes == targets
        assert (square.n_queries, square.n_restarts, square.p_init, square.eps) == (5000, 1, 0.8, 0.2)


class Linear:
    """Logits W x + b of images [B, 25, 25, 3], and the distance of each image to the nearest other class."""

    def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
        self.weights, self.bias = weights, bias
        self.num_classes = len(bias)

    def __call__(self, images: tf.Tensor, training: bool = False, branch: str = "main") -> tf.Tensor:
        assert not training and branch == "main"
        return tf.reshape(images, [-1, PIXELS]) @ self.weights + self.bias

    def radii(self, images: np.ndarray, labels: np.ndarray, norm: str) -> np.ndarray:
        """The smallest change of each image that changes its class; negative where it is wrong already."""
        logits = images.reshape([-1, PIXELS]) @ self.weights + self.bias
        radii = []
        for row, label in zip(logits, labels, strict=True):
            others = np.delete(np.arange(self.num_classes), label)
            apart = self.weights[:, [label]] - self.weights[:, others]
            length = np.abs(apart).sum(axis=0) if norm == "linf" else np.linalg.norm(apart, axis=0)
            radii.append(((row[label] - row[others]) / length).min())
        return np.array(radii)


@pytest.fixture(scope="module")
def task() -> tuple[Linear, np.ndarray, np.ndarray]:
    """Images far from 0 and 255, so that the ball alone limits the attack; one of them is wrong already."""
    rng = np.random.default_rng(0)
    network = Linear(rng.normal(0, 0.05, [PIXELS, CLASSES]).astype(np.float32), np.zeros(CLASSES, np.float32))
    images = rng.uniform(100, 155, [12, SIDE, SIDE, 3]).astype(np.float32)
    labels = (images.reshape([-1, PIXELS]) @ network.weights).argmax(axis=1).astype(np.int32)
    labels[3] = (labels[3] + 1) % CLASSES
    return network, images, labels


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_network_is_as_robust_as_computed(library, task, norm):
    network, images, labels = task
    radii = network.radii(images, labels, norm)
    ordered = np.sort(radii[radii > 0])
    epsilon = (ordered[4] + ordered[5]) / 2
    assert epsilon > 0
    found = logits_under_autoattack(network, images, labels, np.ones(12, bool), norm, float(epsilon), seed=1)
    assert list(found) == ["clean", *STAGES]
    correct = {kind: logits.argmax(axis=1) == labels for kind, logits in found.items()}
    np.testing.assert_array_equal(correct["clean"], radii > 0)
    np.testing.assert_array_equal(correct["autoattack"], radii > epsilon)
    for earlier, later in zip(correct, list(correct)[1:], strict=False):
        assert not (correct[later] & ~correct[earlier]).any()
    np.testing.assert_array_equal(found["autoattack"][radii > epsilon], found["clean"][radii > epsilon])


def test_points_lie_in_the_ball_and_between_black_and_white():
    rng = np.random.default_rng(0)
    images = rng.uniform(60, 195, [6, SIDE, SIDE, 3]).astype(np.float32)
    images[0] = 3
    points = images + rng.normal(0, 9, images.shape).astype(np.float32)
    for norm, epsilon in (("linf", 4.0), ("l2", 180.0)):
        moved = autoattack._in_ball(points, images, norm, epsilon)
        change = (moved - images).reshape([6, -1]).astype(np.float64)
        lengths = np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)
        assert (lengths <= epsilon + 1e-4).all() and (lengths[1:] > 0.9 * epsilon).all()
        assert moved.min() >= 0 and moved.max() <= 255
        inside = autoattack._in_ball(images + 0.01, images, norm, epsilon)
        np.testing.assert_allclose(inside, np.minimum(images + 0.01, 255), atol=1e-4)


def test_an_error_outside_of_the_ball_does_not_count(library, task, monkeypatch):
    """The attacks' verdicts are not trusted."""
    network, images, labels = task

    class Cheat:
        def perturb(self, images, labels):
            return images * 0

    monkeypatch.setattr(autoattack, "_standard_attacks", lambda *arguments: dict.fromkeys(STAGES, Cheat()))
    found = logits_under_autoattack(network, images, labels, np.ones(12, bool), "linf", 1e-3, seed=1)
    np.testing.assert_array_equal(found["autoattack"].argmax(axis=1), found["clean"].argmax(axis=1))


def test_a_seed_fixes_the_result_and_the_state_of_pytorch_stays(library, task):
    import torch

    network, images, labels = task
    before = torch.random.get_rng_state()
    arguments = (network, images, labels, np.ones(12, bool), "linf", 1.0)
    first, second = (logits_under_autoattack(*arguments, seed=1) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(first["autoattack"], second["autoattack"])


def test_the_collector_leaves_out_padding_and_bad_images(library, task):
    network, images, labels = task
    mask = np.ones(12, np.float32)
    mask[[2, 11]] = 0
    bad = np.zeros(12, np.float32)
    bad[2] = 1
    whole = {"images": images, "labels": labels, "mask": mask, "bad": bad}
    batches = [{name: tf.constant(value[part]) for name, value in whole.items()} for part in (slice(6), slice(6, 12))]
    collector = AutoAttackCollector(tf.distribute.get_strategy(), network, "main", "linf", seed=0)
    radii = network.radii(images, labels, "linf")
    epsilon = float(np.median(radii))
    predictions, num_bad = collector.collect(batches, 11, (tf.constant(epsilon), tf.constant(0.1)))
    kept = mask > 0
    assert num_bad == 1 and list(predictions) == ["clean", *STAGES]
    assert predictions["clean"].scores()["top1"] == pytest.approx((radii > 0)[kept].mean())
    assert predictions["autoattack"].scores()["top1"] == pytest.approx((radii > epsilon)[kept].mean())


def test_a_network_without_gradients_is_refused(library, task):
    network, images, labels = task

    def rounded(images):
        return tf.constant(network(images).numpy())

    with pytest.raises(RecipeError, match="no gradient passes"):
        logits_under_autoattack(rounded, images, labels, np.ones(12, bool), "linf", 1.0, seed=0)


def test_too_few_classes_and_missing_packages_are_refused(monkeypatch):
    with pytest.raises(RecipeError, match="needs 4 classes for its targeted loss, and this network has 3"):
        find_sets(SPEC, ["a", "b", "c"])

    def missing(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(autoattack, "_library", missing)
    with pytest.raises(RecipeError, match=r"pip install '\.\[autoattack\]'\): No module named 'torch'"):
        find_sets(SPEC, ["a", "b", "c", "d"])
    assert find_sets(dataclasses.replace(SPEC, names=("pgd",)), ["a", "b"]) == {}


def test_images_too_small_for_square_in_l2_are_refused():
    recipe = override(named_recipe("efficientnet-b0", "digits", "vanilla"), {"network.input_image_size": 24})
    spec = dataclasses.replace(SPEC, norm="l2")
    with pytest.raises(RecipeError, match="in l2 needs images of 25 px, these have 24"):
        plan_passes(recipe, None, spec, {})
    assert len(plan_passes(recipe, None, SPEC, {})) == 8


def test_several_replicas_are_refused(two_replicas):
    with pytest.raises(RecipeError, match="runs on one device, not on 2: give --strategy=one_device"):
        refuse_replicas(two_replicas, SPEC)
    refuse_replicas(two_replicas, dataclasses.replace(SPEC, names=("pgd",)))
    refuse_replicas(tf.distribute.get_strategy(), SPEC)


def test_its_ball_is_that_of_pgd_and_its_settings_have_no_parameters():
    recipe = named_recipe("efficientnet-b0", "digits", "vanilla")
    passes = plan_passes(recipe, None, SPEC, {})
    keys = [one.key for one in passes]
    assert keys == [f"{name}/linf/{epsilon}" for name in ("pgd", "autoattack") for epsilon in (1, 2, 4, 8)]
    pgd, ours = passes[0].settings, passes[4].settings
    assert ours["attack"] == "AutoAttack linf, standard version, running statistics"
    assert set(pgd) - set(ours) == {"restarts"} and ours["success"] == "any"


@pytest.mark.parametrize("flag", ["--pgd_steps=3", "--pgd_restarts=2", "--pgd_success=last"])
def test_parameters_without_effect_are_refused(flag):
    with pytest.raises(RecipeError, match="would have no effect: only pgd reads it"):
        flags.refuse_contradictions(set_flags("--mode=eval", "--benchmarks=autoattack", flag))
    flags.refuse_contradictions(set_flags("--mode=eval", "--benchmarks=autoattack,pgd", flag))
    flags.refuse_contradictions(set_flags("--mode=eval", "--benchmarks=autoattack", "--pgd_epsilons=1"))


def test_reports_show_it_beside_pgd(tmp_path):
    rows = {
        f"autoattack/linf/{epsilon}": part(
            {
                kind: {"top1": top1 - 0.1 * epsilon, "loss": 1.0}
                for kind, top1 in zip(("clean", *STAGES), tops, strict=True)
            },
            branch="main",
            attack="AutoAttack linf",
            success="any",
        )
        for epsilon, tops in ((1, (0.91, 0.5, 0.48, 0.47, 0.46)), (2, (0.91, 0.45, 0.44, 0.43, 0.42)))
    }
    pgd = attacked("linf", [(1, 0.85, 0.61, 0.6), (2, 0.848, 0.25, 0.11)])
    results = results_in(tmp_path, {**pgd, **rows})
    lines = [line.split() for line in evaluation_table(results).splitlines()]
    titles = [" ".join(line[:5]) for line in lines if line and line[0] in ("PGD", "AutoAttack")]
    assert titles == [f"{title} linf, epsilon {epsilon} px" for title in ("PGD", "AutoAttack") for epsilon in (1, 2)]
    figures = write_evaluation_figures(str(tmp_path), results)
    names = [name for name, _ in figures]
    assert [name.rpartition("/")[2] for name in names] == ["attacks.png", "autoattack.png"]
    text = Path(write_evaluation_report(str(tmp_path), results, "command", figures)).read_text()
    own = text.partition("## AutoAttack")[2]
    assert "after APGD-T, top-1 %" in own and "noise, top-1" not in own
    assert "| AutoAttack, top-1 %" in own and "36.00" in own
    assert BENCHMARKS["autoattack"].parameter_free
