"""Batch arithmetic."""

from tpu_utils.errors import DeviceError


def per_replica_batch_size(global_batch_size: int, num_replicas: int, micro_batches: int = 1) -> int:
    """Examples per replica and step.

    Args:
        global_batch_size: examples per step over all replicas.
        num_replicas: number of replicas over all hosts.
        micro_batches: number of micro-batches into which a replica splits its examples.

    Returns:
        Examples per replica and step, over all its micro-batches.

    Raises:
        DeviceError: when the batch does not divide evenly. Rounding would change the batch size, and examples of a
            smaller part would have a larger weight.
    """
    if min(global_batch_size, num_replicas, micro_batches) < 1:
        raise DeviceError(
            f"global batch {global_batch_size}, {num_replicas} replicas, {micro_batches} micro-batches: "
            "each must be at least 1"
        )
    per_replica, remainder = divmod(global_batch_size, num_replicas)
    if remainder:
        raise DeviceError(f"global batch {global_batch_size} does not divide over {num_replicas} replicas")
    if per_replica % micro_batches:
        raise DeviceError(
            f"global batch {global_batch_size} gives each of {num_replicas} replicas {per_replica}, "
            f"which does not divide into {micro_batches} micro-batches"
        )
    return per_replica
