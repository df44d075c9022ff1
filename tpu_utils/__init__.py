"""Devices: strategies for TPU, GPU and CPU on one or more hosts, precision, batch arithmetic, graphs, XLA checks."""

from tpu_utils.accelerators import (
    ACCELERATORS as ACCELERATORS,
    DEFAULT_MACHINES as DEFAULT_MACHINES,
    GPU as GPU,
    TPU as TPU,
    Accelerator as Accelerator,
    Machine as Machine,
    machine_named as machine_named,
)
from tpu_utils.batches import per_replica_batch_size as per_replica_batch_size
from tpu_utils.cluster import (
    any_worker as any_worker,
    is_chief as is_chief,
    number_of_chief as number_of_chief,
    refuse_other_hosts as refuse_other_hosts,
)
from tpu_utils.errors import DeviceError as DeviceError
from tpu_utils.graphs import (
    registered_gradients as registered_gradients,
    release_graphs as release_graphs,
    set_graph_optimizer as set_graph_optimizer,
)
from tpu_utils.precision import set_precision as set_precision
from tpu_utils.strategy import (
    STRATEGIES as STRATEGIES,
    connect as connect,
    describe as describe,
    hide_gpus as hide_gpus,
)
from tpu_utils.xla import lower_to_hlo as lower_to_hlo
