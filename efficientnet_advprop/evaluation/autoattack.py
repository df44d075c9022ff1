"""AutoAttack, the attack by which robustness is compared: APGD-CE, targeted APGD-DLR, targeted FAB and Square in turn.

Source: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks" (ICML 2020). The attacks are the authors' own code for PyTorch (`pyautoattack`), which sees the network as a
function of PyTorch. Its verdicts are not trusted: an image counts as broken if the network errs at a point that is
inside the ball and [0, 255] here. PyTorch is imported at the first use only.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from efficientnet_advprop.attacks import LogitsFunction
from efficientnet_advprop.evaluation.logits import logits_through
from efficientnet_advprop.evaluation.part_keys import CLEAN_IMAGES
from efficientnet_advprop.evaluation.predictions import Batch, PredictionCollector, Predictions
from efficientnet_advprop.recipes import IMAGES_VIEW, RecipeError

# What the attacks leave, after each of the first three and after all of them.
STAGES = ("apgd_ce", "apgd_t", "fab_t", "autoattack")
_KINDS = (CLEAN_IMAGES, *STAGES)
_NORMS = {"linf": "Linf", "l2": "L2"}
_MOST_TARGETS = 9
_FEWEST_PX_OF_L2 = 25
_FEWEST_CLASSES = 4  # the targeted DLR loss reads the fourth-largest logit


def require_autoattack(num_classes: int) -> None:
    """Refuse AutoAttack without its libraries, or for too few classes.

    Raises:
        RecipeError: naming what is missing.
    """
    if num_classes < _FEWEST_CLASSES:
        raise RecipeError(
            f"benchmark autoattack needs {_FEWEST_CLASSES} classes for its targeted loss, and this network has "
            f"{num_classes}: use pgd"
        )
    try:
        _library("torch"), _library("pyautoattack")
    except ImportError as error:
        raise RecipeError(
            f"benchmark autoattack needs the packages torch and pyautoattack (pip install '.[autoattack]'): {error}"
        ) from error


def require_size(norm: str, size_px: int) -> None:
    """Refuse images that Square cannot tile in five by five squares, as its version for L2 does.

    Raises:
        RecipeError: naming their size.
    """
    if norm == "l2" and size_px < _FEWEST_PX_OF_L2:
        raise RecipeError(
            f"benchmark autoattack in l2 needs images of {_FEWEST_PX_OF_L2} px, these have {size_px}: use linf, or pgd"
        )


class AutoAttackCollector(PredictionCollector):
    """Collects the predictions for all images of a pass under AutoAttack, by kind of image: `clean` and `STAGES`.

    Passes over images of the same size share a graph.

    Args:
        strategy: of one replica.
        model: attacked and evaluated in inference mode.
        branch: attacked and evaluated.
        norm: of the ball, "linf" or "l2".
        seed: of the random starts and of Square.
    """

    def __init__(self, strategy: tf.distribute.Strategy, model: tf.keras.Model, branch: str, norm: str, seed: int):
        super().__init__(strategy, lambda batch, number: {kind: batch[kind] for kind in _KINDS})
        self._logits_fn = logits_through(model, branch)
        self._norm, self._seed = norm, seed
        self._graph: Callable[[tf.Tensor], tf.Tensor] | None = None

    def collect(
        self, batches: Iterable[Batch], num_images: int, arguments: Sequence[tf.Tensor] = ()
    ) -> tuple[dict[str, Predictions], int]:
        """As `PredictionCollector.collect`; the first of the arguments is epsilon in pixels."""
        return super().collect(self._attacked(batches, float(arguments[0])), num_images)

    def _attacked(self, batches: Iterable[Batch], epsilon_px: float) -> Iterator[dict[str, tf.Tensor]]:
        """The batches with the logits of each kind of image."""
        for number, batch in enumerate(batches):
            images = tf.clip_by_value(batch[IMAGES_VIEW], 0.0, 255.0)  # [B, H, W, 3]
            if self._graph is None:
                self._graph = tf.function(
                    self._logits_fn,
                    input_signature=[tf.TensorSpec([None, *images.shape[1:]])],
                    autograph=False,
                )
            seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
            shown = batch["mask"].numpy() > 0
            logits = logits_under_autoattack(
                self._graph, images.numpy(), batch["labels"].numpy(), shown, self._norm, epsilon_px, seed
            )
            kept = {name: batch[name] for name in ("labels", "mask", "bad")}
            yield {**kept, **{kind: tf.constant(values) for kind, values in logits.items()}}


def logits_under_autoattack(
    logits_fn: LogitsFunction,
    images: np.ndarray,
    labels: np.ndarray,
    shown: np.ndarray,
    norm: str,
    epsilon_px: float,
    seed: int,
) -> dict[str, np.ndarray]:
    """Logits of the images and of what each attack makes of them.

    Each attack gets the images that are still classified correctly. PyTorch's global state, of random numbers and
    threads, is as before.

    Args:
        logits_fn: images [B, H, W, 3] in [0, 255] -> logits [B, K], for any B.
        images: float32 [B, H, W, 3] in [0, 255].
        labels: int [B].
        shown: bool [B]; the others, which pad a batch, are not attacked.
        norm: "linf" or "l2".
        epsilon_px: radius of the ball.
        seed: of each of the four attacks.

    Returns:
        float32 [B, K] by `clean` and `STAGES`: those of the image until it is broken, then those of the point that
        broke it.
    """
    torch = _library("torch")
    logits = logits_fn(tf.constant(images)).numpy()
    standing = shown & _is_correct(logits, labels)
    found = {CLEAN_IMAGES: logits.copy()}
    with torch.random.fork_rng(devices=[]), _one_thread(torch):
        for stage, attack in _standard_attacks(logits_fn, norm, epsilon_px, logits.shape[-1]).items():
            places = np.flatnonzero(standing)
            if places.size:
                attack.seed = seed
                points = attack.perturb(_to_torch(images[places]), torch.from_numpy(labels[places].astype(np.int64)))
                points = _in_ball(_from_torch(points), images[places], norm, epsilon_px)
                attacked = logits_fn(tf.constant(points)).numpy()
                broken = ~_is_correct(attacked, labels[places])
                logits[places[broken]] = attacked[broken]
                standing[places[broken]] = False
            found[stage] = logits.copy()
    return found


@contextlib.contextmanager
def _one_thread(torch: ModuleType) -> Iterator[None]:
    """PyTorch's operations are small beside the network's; their threads would wait for those of TensorFlow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _standard_attacks(logits_fn: LogitsFunction, norm: str, epsilon_px: float, num_classes: int) -> Mapping[str, Any]:
    """The four attacks by `STAGES`, with the settings of the authors' standard version."""
    network = _as_torch_function(logits_fn)
    suite = _library("pyautoattack").AutoAttack(network, norm=_NORMS[norm], eps=epsilon_px / 255, version="standard")
    suite.apgd.loss = "ce"
    suite.fab.targeted = True
    suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = min(_MOST_TARGETS, num_classes - 1)
    return dict(zip(STAGES, (suite.apgd, suite.apgd_targeted, suite.fab, suite.square), strict=True))


def _as_torch_function(logits_fn: LogitsFunction) -> Callable[[Any], Any]:
    """The network as a function of PyTorch: images [B, 3, H, W] in [0, 1] -> logits [B, K], with gradients."""
    torch = _library("torch")

    class Network(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, images: Any) -> Any:
            pixels = tf.constant(_from_torch(images))
            if not context.needs_input_grad[0]:
                return torch.from_numpy(logits_fn(pixels).numpy())
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(pixels)
                logits = logits_fn(pixels)
            context.tape, context.pixels, context.logits = tape, pixels, logits
            return torch.from_numpy(logits.numpy())

        @staticmethod
        def backward(context: Any, upstream: Any) -> Any:
            gradient = context.tape.gradient(context.logits, context.pixels, tf.constant(upstream.numpy()))
            if gradient is None:
                raise RecipeError("benchmark autoattack: no gradient passes through this network")
            return _to_torch(gradient.numpy(), 255.0)

    return Network.apply


def _to_torch(images: np.ndarray, factor: float = 1 / 255) -> Any:
    """Images [B, H, W, 3], or gradients, -> [B, 3, H, W] times a factor."""
    return _library("torch").from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)) * np.float32(factor))


def _from_torch(images: Any) -> np.ndarray:
    """Images [B, 3, H, W] in [0, 1] -> float32 [B, H, W, 3] in [0, 255]."""
    return np.ascontiguousarray(images.detach().numpy().transpose(0, 2, 3, 1)) * np.float32(255)


def _in_ball(points: np.ndarray, images: np.ndarray, norm: str, epsilon_px: float) -> np.ndarray:
    """The points, moved into the balls around the images and into [0, 255]; rounding leaves them."""
    change = points - images
    if norm == "linf":
        change = np.clip(change, -epsilon_px, epsilon_px)
    else:
        lengths = np.sqrt(np.square(change, dtype=np.float64).sum(axis=(1, 2, 3), keepdims=True))
        change = (change * np.minimum(1, epsilon_px / np.maximum(lengths, 1e-12))).astype(np.float32)
    return np.clip(images + change, 0, 255)


def _is_correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the label has the largest logit, and all are finite."""
    return (logits.argmax(axis=-1) == labels) & np.isfinite(logits).all(axis=-1)


def _library(name: str) -> ModuleType:
    return importlib.import_module(name)
