"""Kills of real processes: SIGKILL at random points, the same command again, and at the end the same files.

Each chain (training, exports, benchmarks, a study) runs once without interruption. Then it is run again, with
processes killed at a random change of its folder or soon after, until as many kills have been made as were asked for.
At the end of a chain its folder must hold the same files as the uninterrupted run's: equal weights bit by bit,
metrics, results, summary (but for times) and exported variables, and nothing left over. Networks have two blocks.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

_ROOT = Path(__file__).parents[1]
_MOST_KILLS = 3  # of one command in a chain
_LONGEST_SECONDS = 500  # of one process
_TINY = (
    "--width_coefficient=0.05",
    "--depth_coefficient=0.2",
    "--input_image_size=16",
    "--train_batch_size=8",
    "--lr_warmup_epochs=0",
    "--base_learning_rate=0.5",
    "--iterations_per_loop=1",
)
_FEW_IMAGES = ("--benchmark_images=24", "--pgd_steps=2", "--pgd_epsilons=1,4")
_BENCHMARKS = ("--benchmarks=clean,pgd,corruptions", "--corruptions=contrast")
_NOT_COMPARED = (".pb", ".tar.gz", ".data-00000-of-00001")  # a traced graph's names are counted; data by their index


@dataclasses.dataclass(frozen=True)
class Command:
    """Arguments of the program, and what exists when its work is done, because a second export is a second version."""

    arguments: tuple[str, ...]
    result: str = "no such file"


@dataclasses.dataclass(frozen=True)
class Chain:
    """Commands in one folder; `needs_run` puts a finished run there first."""

    commands: tuple[Command, ...]
    needs_run: bool = True


_TRAIN = ("--mode=train_and_eval", "--advprop", "--train_steps=6", "--steps_per_eval=2", "--steps_per_checkpoint=1")
_STUDY = ("--mode=study", "--dataset=digits", "--schemes=vanilla,advprop", "--seeds=1", "--train_steps=4")
CHAINS = {
    "training": Chain((Command((*_TRAIN, *_TINY, "--keep_checkpoint_max=2")),), needs_run=False),
    "exports": Chain(
        (
            Command(("--mode=export",), "saved_model/2"),
            Command(("--mode=export", "--export_format=hub", "--checkpoint=best"), "saved_model/hub/1"),
        )
    ),
    "benchmarks": Chain((Command(("--mode=eval", *_BENCHMARKS, *_FEW_IMAGES)),)),
    "study": Chain((Command((*_STUDY, *_TINY, "--benchmarks=clean,pgd", *_FEW_IMAGES)),), needs_run=False),
}


@dataclasses.dataclass(frozen=True)
class End:
    """How a chain whose processes were killed ended.

    Attributes:
        chain: its name in `CHAINS`.
        killed_after: what was written last before each kill.
        difference: from the uninterrupted end, on one line; None if there is none.
    """

    chain: str
    killed_after: tuple[str, ...]
    difference: str | None


def ends_after_kills(kills: int, seed: int, work: Path) -> Iterator[End]:
    """Kill processes of every chain in turn, until the number of kills is reached.

    Args:
        kills: number of processes to kill.
        seed: of the points.
        work: an empty folder.
    """
    rng, folder, trained = random.Random(seed), work / "run", work / "trained"
    _whole(CHAINS["training"], trained, folder)
    folder.rename(trained)
    wholes = {name: (_whole(chain, trained, folder), contents(folder)) for name, chain in CHAINS.items()}
    made = 0
    for name in itertools.cycle(CHAINS):
        changes, expected = wholes[name]
        killed_after, failure = _killed(CHAINS[name], trained, folder, changes, rng)
        made += len(killed_after)
        yield End(name, tuple(killed_after), failure or difference(expected, contents(folder)))
        if made >= kills:
            return


def _whole(chain: Chain, trained: Path, folder: Path) -> list[int]:
    """Run a chain without interruption; returns the number of changes in the folder during each command."""
    _prepare(chain, trained, folder)
    changes = []
    for command in chain.commands:
        with _started(command, folder) as process:
            changes.append(_watch(process, folder, None)[0])
        if process.returncode:
            sys.exit(f"{' '.join(command.arguments)} fails without being killed: {_last_line(folder)}")
    return changes


def _killed(
    chain: Chain, trained: Path, folder: Path, changes: list[int], rng: random.Random
) -> tuple[list[str], str | None]:
    """Run a chain whose processes are killed.

    Returns:
        What was written last before each kill, and why the chain does not end, if it does not.
    """
    _prepare(chain, trained, folder)
    killed_after = []
    for command, most in zip(chain.commands, changes, strict=True):
        for attempt in range(_MOST_KILLS + 1):
            kill_at = rng.randrange(most) if attempt < _MOST_KILLS else None
            delay = rng.choice((0.0, rng.uniform(0, 0.05), rng.uniform(0, 2)))
            with _started(command, folder) as process:
                _, last = _watch(process, folder, kill_at, delay)
            if process.returncode == 0:
                break
            if process.returncode > 0:
                return killed_after, f"code {process.returncode} after kills: {_last_line(folder)}"
            killed_after.append(last)
            if (folder / command.result).exists():
                # The next process that owns the folder would remove this, but there is none in the chain.
                for lock in folder.rglob(".lock"):
                    lock.unlink()
                break
    return killed_after, None


def _prepare(chain: Chain, trained: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if chain.needs_run:
        shutil.copytree(trained, folder)


@contextlib.contextmanager
def _started(command: Command, folder: Path) -> Iterator[subprocess.Popen]:
    arguments = [sys.executable, "-m", "tests.two_blocks", *command.arguments, f"--model_dir={folder}"]
    with open(_log(folder), "w") as log:
        process = subprocess.Popen(
            arguments, cwd=_ROOT, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _watch(process: subprocess.Popen, folder: Path, kill_at: int | None, delay: float = 0.0) -> tuple[int, str]:
    """Wait for a process, or kill it at this number of changes in the folder and a delay in seconds.

    Returns:
        The number of changes, and where the last one was.
    """
    started, seen, changes, last = time.monotonic(), _times(folder), 0, "start"
    while process.poll() is None:
        now = _times(folder)
        changed = sorted(path for path in seen.keys() | now.keys() if seen.get(path) != now.get(path))
        changes, seen = changes + len(changed), now
        if changed:
            last = re.sub(r"\d+", "N", "/".join(Path(changed[-1]).relative_to(folder).parts[:2]))
        if time.monotonic() - started > _LONGEST_SECONDS:
            sys.exit(f"a process has run for {_LONGEST_SECONDS} s: {_last_line(folder)}")
        if kill_at is not None and changes >= kill_at:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay)
            process.kill()
            process.wait()
        time.sleep(0.001)
    return changes, last


def _times(folder: Path) -> dict[str, int]:
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found[os.path.join(parent, name)] = os.stat(os.path.join(parent, name)).st_mtime_ns
    return found


def contents(folder: Path) -> dict[str, str]:
    """A digest of every file, without times, and of every variable in a checkpoint or an export."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.name.startswith("events.out.tfevents"):  # one of each process
            name = str(path.relative_to(folder).parent / "events")
            found[name] = ""
        elif path.suffix == ".index":
            reader = tf.train.load_checkpoint(str(path.with_suffix("")))
            for variable in reader.get_variable_to_shape_map():
                if not variable.startswith("_CHECKPOINTABLE_OBJECT_GRAPH"):
                    value = reader.get_tensor(variable)
                    found[f"{name}:{variable}"] = _digest(value if isinstance(value, bytes) else value.tobytes())
        else:
            found[name] = "" if name.endswith(_NOT_COMPARED) else _digest(_without_times(path))
    return found


def _without_times(path: Path) -> bytes:
    if path.suffix == ".json":
        return json.dumps(_without_seconds(json.loads(path.read_text()))).encode()
    if path.suffix == ".jsonl":
        return json.dumps([_without_seconds(json.loads(line)) for line in path.read_text().splitlines()]).encode()
    if path.name == "checkpoint":
        return re.sub(r"\w*timestamps?: \S+", "", path.read_text()).encode()
    if path.suffix == ".md":
        # A table of a study, a line of a run's table, a line of an evaluation.
        seconds = r"^\|.*seconds a run.*\n(\|.*\n)*|^\| train_seconds .*\n|[\d,]+ seconds"
        return re.sub(seconds, "", path.read_text(), flags=re.MULTILINE).encode()
    return path.read_bytes()


def _without_seconds(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _without_seconds(value) for name, value in values.items() if not name.endswith("seconds")}
    return [_without_seconds(value) for value in values] if isinstance(values, list) else values


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def difference(expected: dict[str, str], actual: dict[str, str]) -> str | None:
    """What differs between two folders, on one line."""
    parts = {
        "lacks": expected.keys() - actual.keys(),
        "has": actual.keys() - expected.keys(),
        "differs in": {name for name in expected.keys() & actual.keys() if expected[name] != actual[name]},
    }
    found = [
        f"{what} {', '.join(sorted(names)[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in parts.items()
        if names
    ]
    return "; ".join(found) or None


def _log(folder: Path) -> Path:
    return folder.with_suffix(".log")


def _last_line(folder: Path) -> str:
    return _log(folder).read_text(errors="replace").strip().rpartition("\n")[2]
