"""Devices: strategies for TPU, GPU and CPU on one or more hosts, precision, batch arithmetic, graphs, XLA checks."""

from tpu_utils.batches import per_replica_batch_size
from tpu_utils.cluster import any_worker, is_chief, number_of_chief, refuse_other_hosts
from tpu_utils.errors import DeviceError
from tpu_utils.graphs import registered_gradients, release_graphs
from tpu_utils.grappler import set_graph_optimizer
from tpu_utils.precision import set_precision
from tpu_utils.strategy import STRATEGIES, connect, describe
from tpu_utils.xla import lower_to_hlo

__all__ = [
    "STRATEGIES",
    "DeviceError",
    "any_worker",
    "connect",
    "describe",
    "is_chief",
    "lower_to_hlo",
    "number_of_chief",
    "per_replica_batch_size",
    "refuse_other_hosts",
    "registered_gradients",
    "release_graphs",
    "set_graph_optimizer",
    "set_precision",
]
