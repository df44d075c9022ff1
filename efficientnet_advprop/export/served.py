"""The network as it is exported: one branch, in float32, with what it has to compute."""

import dataclasses

import numpy as np
import tensorflow as tf

from efficientnet_advprop.export.description import Description
from efficientnet_advprop.models import Network

MAX_PROBABILITY_DIFFERENCE = 1e-5


class ExportError(RuntimeError):
    """What was written does not compute what the trained network computes; it was removed."""


@dataclasses.dataclass(frozen=True)
class ServedNetwork:
    """A network ready to be exported.

    Attributes:
        model: with the branch to serve alone.
        description: what is known of it.
        examples: float32 [N, H, W, 3] in [0, 255]: what exports are compared on.
        probabilities: [N, K], the trained network's on the examples.
        weight_decay: of the recipe, for those who fine-tune.
        decays_batch_norm: whether it acts on gamma and beta too.
    """

    model: Network
    description: Description
    examples: np.ndarray
    probabilities: np.ndarray
    weight_decay: float = 0.0
    decays_batch_norm: bool = False

    def outputs(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Pooled features [N, F] and logits [N, K] of images in [0, 255]."""
        features = self.model.features(images, training=False, branch=self.model.branches[0])
        return features, self.model.classifier(features)

    def require_equal(
        self, probabilities: tf.Tensor | np.ndarray, what: str, expected: np.ndarray | None = None
    ) -> None:
        """Compare probabilities with the trained network's on the examples, or with others.

        Raises:
            ExportError: when one differs by more than 1e-5.
        """
        expected = self.probabilities if expected is None else expected
        difference = float(np.max(np.abs(np.asarray(probabilities) - expected)))
        if not difference <= MAX_PROBABILITY_DIFFERENCE:
            raise ExportError(f"probabilities of {what} differ by {difference:.2g} from the trained network's")


def served_network(
    trained: Network,
    model: Network,
    examples: np.ndarray,
    description: Description,
    weight_decay: float = 0.0,
    decays_batch_norm: bool = False,
) -> ServedNetwork:
    """The part of a trained network that is exported.

    Args:
        trained: the network, with any branches.
        model: the same network with the branch to serve alone; its variables, a part of `trained`'s by path, get their
            values.
        examples: float32 [N, H, W, 3] in [0, 255].
        description: what is known of it.
        weight_decay: of the recipe.
        decays_batch_norm: whether it acts on gamma and beta too.
    """
    sources = trained.weights_by_path()
    for path, variable in model.weights_by_path().items():
        variable.assign(sources[path])
    # A network trained in bfloat16 computes something coarser than the float32 one that is served.
    reference = trained if trained.compute_dtype == model.compute_dtype else model
    logits = reference(examples, training=False, branch=model.branches[0])
    probabilities = tf.nn.softmax(logits).numpy()
    return ServedNetwork(model, description, examples, probabilities, weight_decay, decays_batch_norm)
