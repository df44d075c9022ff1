"""JAX's compilers for steps exported by `export_step`. The only module that uses JAX's private interfaces."""

import json
import os
import re
from pathlib import Path
from typing import Any

# Of a machine without a TPU: the libraries would ask Google Cloud's metadata server for one.
for _name, _value in {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
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

_TPU_PLATFORM = "tpu"


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
            device: of `local_device` or `tpu_device`.
            dump_to: folder for the compiler's reports.
        """
        options = compiler.get_compile_options(1, 1, device_assignment=np.array([[device.id]]))
        options.executable_build_options.use_shardy_partitioner = False
        if dump_to:
            options.executable_build_options.debug_options.xla_dump_to = dump_to
        devices = xla_client.DeviceList((device,))
        with mlir.make_ir_context():
            module = self._module()
            if device.platform == _TPU_PLATFORM:
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


def tpu_device(topology: str) -> Any:
    """A core of a TPU topology such as v5e:1x1, v6e:1x1 or v4:2x2x1, to compile for."""
    try:
        return topologies.get_topology_desc(topology, _TPU_PLATFORM).devices[0]
    except Exception as error:  # of libtpu, which has no class of its own
        raise SystemExit(f"error: topology {topology}: {str(error).splitlines()[0]}") from error


def local_device() -> Any:
    """The first device of this machine."""
    return jax.local_devices()[0]


def execute(executable: Any, arguments: list[jax.Array]) -> list[jax.Array]:
    """The outputs of a compiled step, once they are computed; arguments whose buffers they take are gone."""
    outputs = executable.execute_sharded(arguments).disassemble_into_single_device_arrays()
    return jax.block_until_ready([output[0] if isinstance(output, list) else output for output in outputs])
