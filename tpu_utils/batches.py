"""Batch arithmetic."""

from tpu_utils.errors import DeviceError


def per_replica_batch_size(global_batch_size: int, num_replicas: int, micro_batches: int = 1) -> int:
    """Examples that each replica sees per step.

    Args:
        global_batch_size: examples per step, over all replicas.
        num_replicas: over all hosts.
        micro_batches: pieces in which a replica works through its examples.

    Returns:
        Examples per replica and step, over all its micro-batches.

    Raises:
        DeviceError: when the batch does not divide. Rounding would change the batch size the user asked for, and a
            smaller last share would weigh its examples more than the others'.
    """
    if min(global_batch_size, num_replicas, micro_batches) < 1:
        raise DeviceError(
            f"global batch {global_batch_size}, {num_replicas} replicas, {micro_batches} micro-batches: "
            "each must be at least 1"
        )
    per_replica, left_over = divmod(global_batch_size, num_replicas)
    if left_over:
        raise DeviceError(f"global batch {global_batch_size} does not divide over {num_replicas} replicas")
    if per_replica % micro_batches:
        raise DeviceError(
            f"global batch {global_batch_size} gives each of {num_replicas} replicas {per_replica}, "
            f"which does not divide into {micro_batches} micro-batches"
        )
    return per_replica
