"""JAX's compilers for steps exported by `export_step`. The only module that uses JAX's private interfaces."""

import json
import os
import re
from pathlib import Path
from typing import Any

# Of a machine without accelerators: the libraries would ask Google Cloud's metadata server for a TPU, and a GPU for the
# versions of CUDA.
for _name, _value in {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}.items():
    os.environ.setdefault(_name, _value)

import jax  # noqa: E402 (its plugins read these variables)
import numpy as np  # noqa: E402

try:
    from jax._src import compiler
    from jax._src.interpreters import mlir
    from jax._src.lib import _jax, xla_client
    from jax.experimental import topologies
except ImportError as error:
    raise SystemExit(
        f"error: JAX {jax.__version__} has moved {error.name or error}: make accelerator-tools installs the version "
        "that this module was written for"
    ) from error

# What the compiler asks of a GPU; the figures are those of NVIDIA's H100 SXM5.
_H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 } core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  device_memory_size: 84929347584 memory_bandwidth: 3352320000000 l2_cache_size: 52428800
}
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 8 }
"""
_CUDA = Path(np.__file__).parents[1] / "nvidia" / "cuda_nvcc"  # of the wheel: libdevice, and ptxas


class Step:
    """An exported step.

    Attributes:
        facts: of its export.
    """

    def __init__(self, path: str) -> None:
        try:
            self.facts: dict[str, Any] = json.loads(Path(f"{path}.json").read_text())
            self._bytes = Path(f"{path}.hlo.pb").read_bytes()
        except OSError as error:
            raise SystemExit(f"error: {error.filename}: {error.strerror}; export_step writes it") from error

    def compile(self, device: Any, dump_to: str | None = None) -> Any:
        """The step as an executable of a device of JAX or of a topology.

        Args:
            device: of `local_device` or `absent_device`.
            dump_to: folder for the compiler's reports.
        """
        options = compiler.get_compile_options(1, 1, device_assignment=np.array([[device.id]]))
        options.executable_build_options.use_shardy_partitioner = False
        flags = options.executable_build_options.debug_options
        flags.xla_gpu_cuda_data_dir = str(_CUDA)
        if dump_to:
            flags.xla_dump_to = dump_to
        devices = xla_client.DeviceList((device,))
        with mlir.make_ir_context():
            module = self._module()
            if isinstance(device.client, _jax.CompileOnlyPyClient):
                return device.client.compile(module, devices, options)
            return compiler.backend_compile_and_load(device.client, module, devices, options, [])

    def arguments(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and element type of every argument: the batch, then the variables."""
        with mlir.make_ir_context():
            kinds = [mlir.ir.RankedTensorType(kind) for kind in _main(self._module()).type.inputs]
            return [(tuple(kind.shape), str(kind.element_type)) for kind in kinds]

    def aliases(self) -> dict[int, int]:
        """The argument that each output replaces: the variable that it is the new value of."""
        with mlir.make_ir_context():
            attribute = str(self._module().operation.attributes["mhlo.input_output_alias"])
        pairs = re.findall(r"parameter_number = (\d+).*?output_index = array<i64: (\d+)>", attribute)
        return {int(output): int(argument) for argument, output in pairs}

    def _module(self) -> Any:
        """The step as a StableHLO module."""
        module = mlir.ir.Module.parse(_jax.mlir.hlo_to_stablehlo(self._bytes))
        copies = []

        def collect(operation: Any) -> Any:
            if operation.name == "mhlo.copy":
                copies.append(operation)
            return mlir.ir.WalkResult.ADVANCE

        module.operation.walk(collect)
        for operation in copies:  # of TensorFlow's return values; StableHLO has no such operation
            operation.results[0].replace_all_uses_with(operation.operands[0])
            operation.erase()
        return module


def _main(module: Any) -> Any:
    return next(op for op in module.body.operations if op.operation.attributes["sym_name"].value == "main")


def absent_device(topology: str) -> Any:
    """A device to compile for: `h100`, or a core of a TPU topology such as v5e:1x1, v6e:1x1 or v4:2x2x1."""
    try:
        if topology == "h100":
            os.environ["PATH"] += f"{os.pathsep}{_CUDA / 'bin'}"
            return topologies.get_topology_desc(topology, "cuda", target_config=_H100, topology="1x1x1").devices[0]
        return topologies.get_topology_desc(topology, "tpu").devices[0]
    except Exception as error:  # of the plugins, which have no class of their own
        raise SystemExit(f"error: topology {topology}: {str(error).splitlines()[0]}") from error


def local_device() -> Any:
    """The first device of this machine."""
    return jax.local_devices()[0]


def execute(executable: Any, arguments: list[jax.Array]) -> list[jax.Array]:
    """The outputs of a compiled step, once they are computed; arguments whose buffers they take are gone."""
    outputs = executable.execute_sharded(arguments).disassemble_into_single_device_arrays()
    return jax.block_until_ready([output[0] if isinstance(output, list) else output for output in outputs])
