"""Compile exported steps to the end, for a TPU or an H100 that is not there.

    .venv-accelerator/bin/python -m benchmarks.accelerator.compile_step steps/b0 --topology=v5e:1x1

Prints a line of JSON for each step: seconds, bytes of arguments, temporary buffers and code. A narrow network takes
seconds to minutes.
"""

import argparse
import json
import time
from typing import Any

from benchmarks.accelerator.compilers import Step, absent_device


def compile_step(path: str, topology: str, dump_to: str | None = None) -> dict[str, Any]:
    """Facts of the compiled step."""
    start = time.time()
    executable = Step(path).compile(absent_device(topology), dump_to)
    memory = executable.get_compiled_memory_stats()
    return {
        "step": path,
        "topology": topology,
        "seconds": round(time.time() - start, 1),
        "argument_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
    }


def main() -> None:
    """Compile the steps of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="+", help="paths of exported steps, without an ending")
    parser.add_argument("--topology", default="v5e:1x1", help="of a TPU, or h100")
    parser.add_argument("--dump_to", help="folder for the compiler's reports")
    arguments = parser.parse_args()
    for path in arguments.steps:
        print(json.dumps(compile_step(path, arguments.topology, arguments.dump_to)), flush=True)


if __name__ == "__main__":
    main()
