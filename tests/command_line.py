"""Runs the command line, in this process or in a new one."""

import contextlib
import os
import random
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags as absl_flags

import flags
import main

ROOT = Path(__file__).parents[1]


def set_flags(*arguments: str) -> absl_flags.FlagValues:
    """The flags as this command line sets them, independent of earlier parsing."""
    values = absl_flags.FLAGS
    values.unparse_flags()
    for flag in flags.FLAGS:
        for name in filter(None, (flag.name, flag.alias)):
            values[name].unparse()
    flags.parse_flags(["main.py", *arguments])
    return values


def run_main(*arguments: str) -> None:
    """`python main.py` with these arguments."""
    set_flags(*arguments)
    main.main(["main.py"])


def run(*arguments: str, capsys: pytest.CaptureFixture) -> tuple[str, str]:
    """`python main.py` with these arguments; returns its standard output and standard error."""
    capsys.readouterr()
    run_main(*arguments)
    return capsys.readouterr()


def refused(*arguments: str, capsys: pytest.CaptureFixture) -> str:
    """The one line on standard error of a `python main.py` that exits with code 2."""
    with pytest.raises(SystemExit) as stopped:
        run(*arguments, capsys=capsys)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def start_main(*arguments: str, two_blocks: bool = False, folder: Path = ROOT, **environment: str) -> subprocess.Popen:
    """`python main.py` in a new process, optionally with networks of two blocks, or in another working folder."""
    return subprocess.Popen(
        [sys.executable, *(("-m", "tests.two_blocks") if two_blocks else (str(ROOT / "main.py"),)), *arguments],
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def without_start_up(stderr: str) -> str:
    """Standard error without the lines that TensorFlow 2.21 writes at its import; they differ between machines."""
    return re.sub(r"^(WARNING: All log messages before absl::|I0000 ).*\n", "", stderr, flags=re.M)


def free_addresses(count: int) -> list[str]:
    """Local addresses with unused ports.

    The ports lie below the range from which the system assigns ports: one of that range could be assigned to a parallel
    test before the process that should use it starts.
    """
    ports = iter(random.SystemRandom().sample(range(20_000, 32_768), 1000))
    addresses = []
    with contextlib.ExitStack() as sockets:
        while len(addresses) < count:
            port = next(ports)
            with contextlib.suppress(OSError):
                sockets.enter_context(socket.create_server(("localhost", port)))
                addresses.append(f"localhost:{port}")
    return addresses
