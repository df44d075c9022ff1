"""Kills of real processes: SIGKILL at random points, the same command again, and at the end the same files.

    python -m benchmarks.faults_kills --kills=100

Each chain (training, exports, benchmarks, a study) runs once without interruption. Then it is run again, with
processes killed at a random change of its folder or soon after, until as many kills have been made as were asked for.
At the end of a chain its folder must hold the same files as the uninterrupted run's: equal weights bit by bit,
metrics, results, summary (but for times) and exported variables, and nothing left over. Networks have two blocks.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tabulate
import tensorflow as tf
from absl import app, flags as absl_flags

_KILLS = absl_flags.DEFINE_integer("kills", 100, "Number of processes to kill.")
_SEED = absl_flags.DEFINE_integer("campaign_seed", 0, "Of the points at which they are killed.")
_CHAINS = absl_flags.DEFINE_list("chains", [], "Chains to run; all if absent.")

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


@dataclasses.dataclass
class Outcome:
    """What became of a chain's kills.

    Attributes:
        kills: number of processes killed.
        points: kills by what was written last before.
        ends: number of ends equal to the uninterrupted one.
        failures: one line for each end that was not.
    """

    kills: int = 0
    points: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    ends: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)


def kill_campaign(kills: int, seed: int, names: list[str], work: Path) -> dict[str, Outcome]:
    """Kill processes of these chains in turn; prints as it goes.

    Args:
        kills: number of processes to kill.
        seed: of the points.
        names: of `CHAINS`.
        work: an empty folder.
    """
    rng, folder, trained = random.Random(seed), work / "run", work / "trained"
    if any(CHAINS[name].needs_run for name in names):
        _whole(CHAINS["training"], trained, folder)
        folder.rename(trained)
    wholes = {}
    for name in names:
        wholes[name] = (_whole(CHAINS[name], trained, folder), contents(folder))
        print(f"{name}: {sum(wholes[name][0])} changes of files in an uninterrupted run", flush=True)
    outcomes = {name: Outcome() for name in names}
    while sum(outcome.kills for outcome in outcomes.values()) < kills:
        for name, (changes, expected) in wholes.items():
            outcome, before = outcomes[name], outcomes[name].kills
            failure = _killed(CHAINS[name], trained, folder, changes, rng, outcome) or difference(
                expected, contents(folder)
            )
            outcome.ends += not failure
            outcome.failures += [failure] if failure else []
            print(f"{name}, {outcome.kills - before} kills: {failure or 'equal'}", flush=True)
    return outcomes


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
    chain: Chain, trained: Path, folder: Path, changes: list[int], rng: random.Random, outcome: Outcome
) -> str | None:
    """Run a chain whose processes are killed; returns why it does not end."""
    _prepare(chain, trained, folder)
    for command, most in zip(chain.commands, changes, strict=True):
        for attempt in range(_MOST_KILLS + 1):
            kill_at = rng.randrange(most) if attempt < _MOST_KILLS else None
            delay = rng.choice((0.0, rng.uniform(0, 0.05), rng.uniform(0, 2)))
            with _started(command, folder) as process:
                _, last = _watch(process, folder, kill_at, delay)
            if process.returncode == 0:
                break
            if process.returncode > 0:
                return f"code {process.returncode} after kills: {_last_line(folder)}"
            outcome.kills += 1
            outcome.points[last] += 1
            if (folder / command.result).exists():
                break
    return None


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
        seconds = r"^\|.*seconds a run.*\n(\|.*\n)*|[\d,]+ seconds"  # a table of a study, a line of an evaluation
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


def main(argv: list[str]) -> None:
    """Run the campaign and print its counts; exits with code 1 if an end differed."""
    del argv
    with tempfile.TemporaryDirectory() as work:
        outcomes = kill_campaign(_KILLS.value, _SEED.value, _CHAINS.value or list(CHAINS), Path(work))
    rows = [
        (name, outcome.kills, outcome.ends, len(outcome.failures), *outcome.failures[:1])
        for name, outcome in outcomes.items()
    ]
    print(tabulate.tabulate(rows, ("chain", "kills", "equal ends", "others", "such as"), "github"))
    points = sum((outcome.points for outcome in outcomes.values()), collections.Counter())
    print(tabulate.tabulate(points.most_common(), ("killed after a change of", "times"), "github"))
    sys.exit(any(outcome.failures for outcome in outcomes.values()))


if __name__ == "__main__":
    app.run(main)
