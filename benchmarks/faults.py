"""Campaigns of faults through the real entry point: mutated flags, mutated files, kills.

    python -m benchmarks.faults --kind=flags --trials=1000 --random_seed=0
    python -m benchmarks.faults --kind=files --trials=50 --fresh
    python -m benchmarks.faults --kind=kills --trials=100

Not one mutation may end in a traceback. A refusal has to be one line and exit code 2, and leave every file as it was.
The mutations are a function of the kind and the seed, trial by trial, so that `--first` continues a campaign. They
run in one process, or each in a new one (`--fresh`), on networks of two blocks. Kills are described in `kills.py`.
Another kind of fault is another entry of `KINDS`.
"""

import argparse
import collections
import contextlib
import dataclasses
import hashlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import efficientnet_advprop  # noqa: F401  (before TensorFlow, as in main.py)

# isort: split
import flags
from benchmarks.kills import ends_after_kills
from benchmarks.mutations import mutated_bytes, mutated_json, values_of
from tests.command_line import run_main, start_main
from tests.two_blocks import two_block_networks

_TIMEOUT_SECONDS = 120
_TINY = {
    "input_image_size": "16",
    "width_coefficient": "0.25",
    "depth_coefficient": "0.2",
    "train_batch_size": "8",
    "train_steps": "2",
    "iterations_per_loop": "1",
    "lr_schedule": "constant",
    "lr_warmup_epochs": "0",
}
# Outcomes that may be.
REFUSED, RAN, FAILED = "refused with code 2", "ran", "failed with code 1"


@dataclasses.dataclass(frozen=True)
class Trial:
    """A command with one fault.

    Attributes:
        arguments: of the command line.
        fault: in words.
        folder: working folder, which a refusal must leave as it was.
    """

    arguments: tuple[str, ...]
    fault: str
    folder: Path


# (seed, folder of `make_work`, numbers of the trials) -> trials
Trials = Callable[[int, Path, range], Iterator[Trial]]


class Outcome(NamedTuple):
    """What a trial, or a kill, came to; whether it may; and a report of it."""

    name: str
    allowed: bool
    report: str


# (arguments of this program, an empty folder) -> outcomes
Campaign = Callable[[argparse.Namespace, Path], Iterator[Outcome]]


def of_flags(given: dict[str, str]) -> tuple[str, ...]:
    """Arguments of the command line."""
    return tuple(f"--{name}={value}" for name, value in given.items())


def make_work(folder: Path) -> None:
    """A finished run of two steps with an evaluation, and a study, which commands in `folder` can read."""
    train = {**_TINY, "scheme": "advprop", "model_dir": "run"}
    evaluate = {"mode": "eval", "model_dir": "run", "benchmarks": "clean", "benchmark_images": "8"}
    for given in (train, evaluate, _study()):
        _require_to_run(Trial(of_flags(given), "none", folder))


def require_readers_to_run(work: Path) -> None:
    """Run each command of `file_trials` on files without a fault, which no refusal may be about."""
    for command in dict.fromkeys(command for commands in _readers().values() for command in commands):
        with _copy(work) as folder:
            _require_to_run(Trial(command, "none", folder))


def _require_to_run(trial: Trial) -> None:
    outcome, line = run_here(trial)
    if outcome != RAN:
        raise RuntimeError(f"{trial.arguments}: {outcome}: {line}")


def _study() -> dict[str, str]:
    measured = {"benchmarks": "clean", "benchmark_images": "8", "seeds": "1"}
    return {"mode": "study", "schemes": "vanilla,advprop", "model_dir": "study", **_TINY, **measured}


def _needed(mode: str) -> dict[str, str]:
    """Flags with which a mode runs for a second or a few."""
    if mode == "study":
        return _study()
    of_run = {"mode": mode, "model_dir": "run"}
    reading = {"eval": of_run, "export": of_run, "predict": {**of_run, "images": "run/*.png"}}
    return reading.get(mode) or {
        "compare": {"mode": mode, "compare": "run,study"},
        "check_data": {"mode": mode, "model_dir": "checked"},
        "plan": {"mode": mode},
    }.get(mode, {"mode": mode, "scheme": "advprop", "model_dir": "new", **_TINY})


def flag_trials(seed: int, work: Path, numbers: range) -> Iterator[Trial]:
    """Commands of every mode with one value of one flag that is seldom right."""
    modes = [mode for mode in flags.MODES if mode != "train_and_eval"]  # train is faster
    for number in numbers:
        rng = random.Random(f"flags {seed} {number}")
        flag = rng.choice([flag for flag in flags.FLAGS if flag.name != "mode"])
        read_in = [mode for mode in modes if mode in flag.modes]
        mode = rng.choice(read_in if read_in and rng.random() < 0.9 else modes)
        value = rng.choice(values_of(flag.kind, flag.name))
        given = {**_needed(mode), flag.name: value}
        if flag.needs_benchmarks:
            given.setdefault("benchmarks", "clean,pgd")
        if flag.name == "train_epochs":
            given.pop("train_steps", None)
        with _copy(work) as folder:
            yield Trial(of_flags(given), f"--{flag.name}={value[:60]!r}", folder)


def _readers() -> dict[str, tuple[tuple[str, ...], ...]]:
    """The commands that read each file of `make_work`."""
    run = of_flags({**_needed("train"), "model_dir": "run"})
    whole = tuple(argument for argument in run if argument != "--mode=train")
    export, evaluate, compare, study = (of_flags(_needed(mode)) for mode in ("export", "eval", "compare", "study"))
    benchmarks = (*evaluate, "--benchmarks=clean", "--benchmark_images=8")
    exported = ("--mode=eval", "--init_checkpoint=run/saved_model/1")
    return {
        "run/recipe.json": (run, evaluate, export),
        "run/metrics.jsonl": (run, export),
        "run/summary.json": (whole, export),
        "run/best/best.json": (run,),
        "run/checkpoints/checkpoint": (run, evaluate),
        "run/checkpoints/step-2.*": (run, evaluate),
        "run/evaluation/results.json": (benchmarks, compare),
        "run/saved_model/1/export.json": (exported,),
        "run/saved_model/1/saved_model.pb": (exported,),
        "run/saved_model/1/variables/*": (exported,),
        "study/results.json": (study, compare),
        "study/observations/*": (study,),
    }


def file_trials(seed: int, work: Path, numbers: range) -> Iterator[Trial]:
    """Commands that read a file which is damaged, or valid JSON of other values."""
    readers = _readers()
    there = [pattern for pattern in readers if any(work.glob(pattern))]
    for number in numbers:
        rng = random.Random(f"files {seed} {number}")
        pattern = rng.choice(there)
        with _copy(work) as folder:
            path = rng.choice(sorted(folder.glob(pattern)))
            is_json = path.suffix in (".json", ".jsonl") and rng.random() < 0.6
            content, fault = (mutated_json if is_json else mutated_bytes)(path.read_bytes(), rng)
            path.write_bytes(content)
            yield Trial(rng.choice(readers[pattern]), f"{path.relative_to(folder)}: {fault}", folder)


def of_mutations(trials: Trials) -> Campaign:
    """The campaign that runs these trials one after the other."""

    def campaign(asked: argparse.Namespace, folder: Path) -> Iterator[Outcome]:
        work = folder / "base"
        work.mkdir()
        make_work(work)
        if trials is file_trials:
            require_readers_to_run(work)
        run = run_fresh if asked.fresh else run_here
        for trial in trials(asked.random_seed, work, range(asked.first, asked.first + asked.trials)):
            name, line = run(trial)
            command = " ".join(argument[:60] for argument in trial.arguments)
            yield Outcome(name, name in (REFUSED, RAN, FAILED), f"{trial.fault}\n  {command!a}\n  {line!a}")

    return campaign


def kills(asked: argparse.Namespace, folder: Path) -> Iterator[Outcome]:
    """The campaign of kills: an outcome for each kill and each end."""
    for end in ends_after_kills(asked.trials, asked.random_seed, folder):
        for point in end.killed_after:
            yield Outcome(f"killed after a change of {point}", True, end.chain)
        equal = end.difference is None
        yield Outcome(f"{end.chain}: {'equal' if equal else 'another'} end", equal, str(end.difference))


@contextlib.contextmanager
def _copy(work: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=work.parent) as parent:
        yield Path(shutil.copytree(work, Path(parent) / "work"))


def run_here(trial: Trial) -> tuple[str, str]:
    """Run a trial in this process; returns its outcome, and the last line of its standard error."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not finished in {_TIMEOUT_SECONDS} s")

    out, err, before = io.StringIO(), io.StringIO(), _digest(trial.folder)
    previous, handler = Path.cwd(), signal.signal(signal.SIGALRM, stop)
    os.chdir(trial.folder)
    signal.alarm(_TIMEOUT_SECONDS)
    code: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), two_block_networks():
            run_main(*trial.arguments)
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:
        return "traceback", traceback.format_exc()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        os.chdir(previous)
    return _judged(code, err.getvalue(), _digest(trial.folder) == before)


def run_fresh(trial: Trial) -> tuple[str, str]:
    """Run a trial in a new process; returns its outcome, and the last line of its standard error."""
    before = _digest(trial.folder)
    process = start_main(*trial.arguments, two_blocks=True, folder=trial.folder)
    _, err = process.communicate(timeout=_TIMEOUT_SECONDS)
    if "Traceback (most recent call last)" in err or process.returncode < 0:
        return "traceback", f"code {process.returncode}: {err}"
    return _judged(process.returncode, err, _digest(trial.folder) == before)


def _judged(code: object, err: str, unchanged: bool) -> tuple[str, str]:
    lines = err.splitlines()
    last = lines[-1] if lines else ""
    if code != 2:
        return {0: RAN, None: RAN, 1: FAILED}.get(code, f"code {code}"), last
    if not unchanged:
        return "refused after files were changed", last
    is_one_line = len(lines) == 1 or sum(line.startswith("error: ") for line in lines) == 1
    return (REFUSED, last) if is_one_line else ("not one line", err)


def _digest(folder: Path) -> str:
    """Of the names and contents of all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(bytes(path) + path.read_bytes() for path in files)).hexdigest()


KINDS: dict[str, Campaign] = {"flags": of_mutations(flag_trials), "files": of_mutations(file_trials), "kills": kills}


def main() -> None:
    """Run a campaign and print its counts; exits with code 1 if any trial ended as none may."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--trials", type=int, default=1000, help="number of mutations, or of kills")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--random_seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="each mutation in a new process")
    parser.add_argument("--verbose", action="store_true", help="print every outcome")
    asked = parser.parse_args()
    if asked.kind == "kills" and (asked.first or asked.fresh):
        parser.error("--first and --fresh are for mutations, not for --kind=kills")
    counts: collections.Counter[str] = collections.Counter()
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        for outcome in KINDS[asked.kind](asked, Path(folder)):
            counts[outcome.name] += 1
            broken |= not outcome.allowed
            if asked.verbose or not outcome.allowed:
                print(f"{outcome.name}: {outcome.report}", flush=True)
    print(f"{asked.trials} {asked.kind}, from number {asked.first} of seed {asked.random_seed}:")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")
    sys.exit(broken)


if __name__ == "__main__":
    main()
