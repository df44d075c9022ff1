"""The network to export: one branch, in float32, with examples of its outputs."""

import dataclasses

import numpy as np
import tensorflow as tf

from efficientnet_advprop.export.description import Description
from efficientnet_advprop.models import Network

MAX_PROBABILITY_DIFFERENCE = 1e-5


class ExportError(RuntimeError):
    """The exported files do not compute what the trained network computes. They were removed."""


@dataclasses.dataclass(frozen=True)
class ServedNetwork:
    """A network ready to be exported.

    Attributes:
        model: has only the exported branch.
        description: of the network.
        examples: images float32 [N, H, W, 3] in [0, 255], on which exports are compared.
        probabilities: the trained network's on the examples, [N, K].
        weight_decay: the recipe's, for fine-tuning.
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
    """Prepare a trained network for export.

    Args:
        trained: the network, with any branches.
        model: the same network with only the branch to export; its variables get the values of those of `trained` with
            the same path.
        examples: float32 [N, H, W, 3] in [0, 255].
        description: of the network.
        weight_decay: the recipe's.
        decays_batch_norm: whether it acts on gamma and beta too.
    """
    sources = trained.weights_by_path()
    for path, variable in model.weights_by_path().items():
        variable.assign(sources[path])
    # Compared in float32: a network trained in bfloat16 is less precise than the exported one.
    reference = trained if trained.compute_dtype == model.compute_dtype else model
    logits = reference(examples, training=False, branch=model.branches[0])
    probabilities = tf.nn.softmax(logits).numpy()
    return ServedNetwork(model, description, examples, probabilities, weight_decay, decays_batch_norm)
