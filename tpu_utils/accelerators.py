"""Accelerators by name: memory and peak rates from the vendors' public specifications. No device is asked."""

import dataclasses
import re

from tpu_utils.errors import DeviceError

TPU, GPU = "TPU", "GPU"
_BF16, _FP16 = ("bfloat16",), ("float16",)


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One replica's device: a core of a TPU v2 or v3, a chip of a later TPU (both cores are one device), or a GPU.

    Attributes:
        name: a key of `ACCELERATORS`.
        kind: "TPU" or "GPU". A TPU pads arrays to its tiles.
        memory_gib: memory of the device in GiB.
        peak_tflops: peak rate of matrix products in its 16-bit type, in 1e12 operations per second, without sparsity.
        bandwidth_gb: bytes per second to and from its memory, in 1e9.
        precisions: its 16-bit types, "bfloat16" or "float16", the better one first. It computes in float32 too.
        per_replica: how much one replica adds to the number in a TPU's name: v2-8 has 8 cores, v4-8 has 8 in 4 chips,
            v5e-8 has 8 chips. 0 for a GPU, whose name has none.
    """

    name: str
    kind: str
    memory_gib: float
    peak_tflops: float
    bandwidth_gb: float
    precisions: tuple[str, ...]
    per_replica: int = 0

    @property
    def usable_bytes(self) -> int:
        """The memory that a program can have.

        XLA keeps 0.25 GiB of a TPU (its compiler plans for 15.75 GiB of 16). CUDA's context, cuDNN and what the
        allocator wastes take about 1 GiB of a GPU.
        """
        return int((self.memory_gib - (0.25 if self.kind == TPU else 1.0)) * 2**30)

    def computes_in(self, precision: str | None) -> bool:
        """Whether it has this precision; None is its 16-bit type."""
        return precision in (None, "float32", *self.precisions)


# TPUs: the pages of each version at cloud.google.com/tpu/docs (per chip; halves for the cores of v2 and v3). GPUs:
# NVIDIA's data sheets of T4, V100 SXM2, A100 SXM4 and H100 SXM5, dense rates; a T4 shows 15 of its 16 GB.
ACCELERATORS = {
    accelerator.name: accelerator
    for accelerator in (
        Accelerator("v2", TPU, 8, 22.5, 350, _BF16, 1),
        Accelerator("v3", TPU, 16, 61.5, 450, _BF16, 1),
        Accelerator("v4", TPU, 32, 275, 1228, _BF16, 2),
        Accelerator("v5e", TPU, 16, 197, 819, _BF16, 1),
        Accelerator("v5p", TPU, 95, 459, 2765, _BF16, 2),
        Accelerator("v6e", TPU, 32, 918, 1640, _BF16, 1),
        Accelerator("t4", GPU, 15, 65, 320, _FP16),
        Accelerator("v100-16", GPU, 16, 125, 900, _FP16),
        Accelerator("v100-32", GPU, 32, 125, 900, _FP16),
        Accelerator("a100-40", GPU, 40, 312, 1555, _BF16 + _FP16),
        Accelerator("a100-80", GPU, 80, 312, 2039, _BF16 + _FP16),
        Accelerator("h100-80", GPU, 80, 989, 3350, _BF16 + _FP16),
    )
}
# One of each kind, of the usual size: a TPU host's, or a server with 8 GPUs.
DEFAULT_MACHINES = tuple(f"{name}-8" if device.per_replica else f"{name}x8" for name, device in ACCELERATORS.items())
_NUMBER = r"(?P<number>[1-9][0-9]{0,5})"  # a pod of TPUs has some 1e4 chips


@dataclasses.dataclass(frozen=True)
class Machine:
    """Replicas on devices of one kind; `name` is as it was given."""

    name: str
    accelerator: Accelerator
    num_replicas: int


def machine_named(name: str) -> Machine:
    """The machine of this name: a TPU as in Google Cloud, such as v3-32, or a GPU with its number, such as a100-80x8.

    Raises:
        DeviceError: for an unknown name, which lists the known ones, or a TPU of half a chip.
    """
    for accelerator in ACCELERATORS.values():
        count = f"-{_NUMBER}" if accelerator.per_replica else f"(x{_NUMBER})?"
        if match := re.fullmatch(re.escape(accelerator.name) + count, name):
            replicas, rest = divmod(int(match["number"] or 1), accelerator.per_replica or 1)
            if rest:
                raise DeviceError(f"{name}: the number counts cores, and a chip of {accelerator.name} has 2")
            return Machine(name, accelerator, replicas)
    known = (f"{device.name}-N" if device.per_replica else f"{device.name}[xN]" for device in ACCELERATORS.values())
    raise DeviceError(f"no device {name!r}; known: {', '.join(known)}")
