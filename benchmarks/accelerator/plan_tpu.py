"""HBM that exported steps need on a TPU core, as its compiler assigns buffers, without a TPU.

    .venv-accelerator/bin/python -m benchmarks.accelerator.plan_tpu steps/b7 --topology=v5e:1x1

The compiler runs in a process of its own, which ends where code generation would begin: it assigns buffers within
seconds to minutes, but may generate code for hours. Prints a line of JSON for each step, and exits with code 1 if one
could not be planned.
"""

import argparse
import contextlib
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_HBM = "0"  # color of the memory space in the compiler's reports
_POLL_SECONDS = 1.0
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def assigned_bytes(report: str) -> dict[str, int]:
    """Bytes of HBM by use, from the compiler's report on its buffer assignment."""
    sizes = {"temporary_bytes": 0, "argument_bytes": 0, "other_bytes": 0}
    for size, color, use in re.findall(r"^allocation \d+: size (\d+), (?:color (\d+), )?(.*)", report, re.M):
        if (color or _HBM) == _HBM:
            name = "temporary" if "preallocated-temp" in use else "argument" if "parameter" in use else "other"
            sizes[f"{name}_bytes"] += int(size)
    return {**sizes, "hbm_bytes": sum(sizes.values())}


def largest_buffers(report: str, count: int) -> list[str]:
    """Size and shapes of the largest buffers of HBM, from the compiler's report on memory."""
    of_hbm = report.split("Memory Space:")[1]
    rows = re.findall(r"^[^;]*;\s*([\d.]+)([KMG]iB|B)[^;]*;[^;]*;[^;]*;\s*(.*)", of_hbm, re.M)
    rows = sorted(rows, key=lambda row: -float(row[0]) * _UNITS[row[1]])
    return [f"{size} {unit} {shapes}" for size, unit, shapes in rows[:count]]


def plan(path: str, topology: str, buffers: int, limit_seconds: float) -> dict[str, Any]:
    """The plan of one step; `error` says why there is none."""
    facts: dict[str, Any] = {"step": path, "topology": topology}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.accelerator.compile_step", path, f"--topology={topology}"]
        environment = {**os.environ, "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
        compiler = subprocess.Popen(
            [*command, f"--dump_to={folder}"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            reports = _until_assigned(compiler, folder, limit_seconds)
        finally:
            compiler.kill()
            _, errors = compiler.communicate()
        if reports is None:
            return {**facts, "error": (errors.strip().splitlines() or [f"not planned in {limit_seconds:g} s"])[-1]}
        assignment, memory = reports
        facts |= assigned_bytes(assignment)
        return {**facts, "largest_buffers": largest_buffers(memory, buffers)} if buffers else facts


def _until_assigned(compiler: subprocess.Popen, folder: str, limit_seconds: float) -> tuple[str, str] | None:
    """The reports on buffers and memory, once the compiler has written them; None if it ends without them."""
    end, last = time.monotonic() + limit_seconds, (None, None)
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.TimeoutExpired):
            compiler.wait(_POLL_SECONDS)
        reports = _report(folder, "buffer-assignment"), _report(folder, "memory-usage-report")
        is_ended = compiler.poll() is not None
        if all(reports) and (is_ended or reports == last):  # not in the middle of writing
            return reports
        if is_ended:
            return None
        last = reports
    return None


def _report(folder: str, name: str) -> str | None:
    found = glob.glob(f"{folder}/*{name}.txt")
    return Path(found[0]).read_text() if found else None


def main() -> None:
    """Plan the steps of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="+", help="paths of exported steps, without an ending")
    parser.add_argument("--topology", default="v5e:1x1")
    parser.add_argument("--buffers", type=int, default=0, help="number of the largest buffers to list")
    parser.add_argument("--limit_seconds", type=float, default=1800)
    arguments = parser.parse_args()
    failed = False
    for path in arguments.steps:
        facts = plan(path, arguments.topology, arguments.buffers, arguments.limit_seconds)
        failed |= "error" in facts
        print(json.dumps(facts), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
