"""SIGINT, SIGTERM and SIGHUP: one line, code 128 + signal, the state saved; a lost reader changes none of it."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import tensorflow as tf

import main
from efficientnet_advprop.modes import export
from efficientnet_advprop.reporting import keep_printing
from efficientnet_advprop.training.interruption import Interrupted, StopRequest, interruptible
from efficientnet_advprop.training.loop import StepLoop
from flags import MODES
from tests.command_line import ROOT, run_main, start_main
from tests.small import small_recipe
from tests.test_training import run_training

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ENDED = "stopped by {}; the same command resumes from the last checkpoint or result, if there is one\n"


@pytest.fixture(autouse=True)
def signals_act() -> Iterator[None]:
    """In the background or under nohup the tests, and the processes that they start, would ignore some."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # the handler runs


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("mode", MODES)
def test_a_signal_ends_every_mode(number, mode, monkeypatch, capsys):
    before = [signal.getsignal(number) for number in SIGNALS]
    needed = {"study": ["--schemes=vanilla"], "compare": ["--compare=a,b"], "predict": ["--images=a"]}
    monkeypatch.setitem(main.RUN_MODE, mode, lambda values: send(number))
    with pytest.raises(SystemExit) as stopped:
        run_main(f"--mode={mode}", *needed.get(mode, ()))
    assert stopped.value.code == 128 + number
    assert capsys.readouterr().err == ENDED.format(number.name)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_stopped_export_says_that_nothing_was_exported(two_blocks, tmp_path, monkeypatch, capsys):
    arguments = ("--mode=train", "--train_steps=1", "--train_batch_size=8", "--strategy=one_device")
    run_main(*arguments, f"--model_dir={tmp_path}")
    capsys.readouterr()
    monkeypatch.setattr(export, "export_network", lambda *arguments: send(signal.SIGTERM))
    with pytest.raises(SystemExit):
        run_main("--mode=export", f"--model_dir={tmp_path}")
    line = "stopped by SIGTERM; nothing was exported, the same command begins again"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert not (tmp_path / "saved_model").exists()


IN_A_NEW_PROCESS = """
import hashlib, os, signal, sys, threading, time
from efficientnet_advprop.training.interruption import *
from efficientnet_advprop.training import interruption
interruption._PATIENCE_SECONDS = 0.3

class Finalized:
    def __del__(self):
        send()

def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)
    time.sleep(0.01)

end_process_on_signals()
try:
    {0}
    print("not ended")
except Interrupted as stopped:
    print(stopped.line, file=sys.stderr)
    os._exit(128 + stopped.signal_number)
"""


@pytest.mark.parametrize(
    "statements",
    [
        "send()",
        # In a finalizer Python drops exceptions.
        "with interruptible(): x = Finalized(); del x; time.sleep(9)",
        # A call that holds the main thread for longer than the patience.
        "with interruptible(): threading.Timer(0.1, send).start(); hashlib.pbkdf2_hmac('sha1', b'', b'', 9**8)",
        # A closed terminal.
        "with interruptible():\n        try: send()\n        finally: send(signal.SIGHUP)",
    ],
    ids=["start", "finalizer", "long call", "twice"],
)
def test_a_process_ends_with_one_line(statements):
    code = IN_A_NEW_PROCESS.format(statements)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", ENDED.format("SIGTERM"))
    assert done.returncode == 128 + signal.SIGTERM


def test_nohup_outlives_its_terminal():
    code = IN_A_NEW_PROCESS.format("with interruptible(), StopRequest(): send(signal.SIGHUP)")
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, **ignored)
    assert done.stdout == "not ended\n"


def test_what_an_interruption_breaks_is_no_failure_and_other_failures_are():
    with pytest.raises(Interrupted, match="SIGTERM"), interruptible():
        try:
            send(signal.SIGTERM)
        except Interrupted:
            raise tf.errors.UnknownError(None, None, "a Python function failed") from None
    with pytest.raises(OSError, match="full"), interruptible(), StopRequest():
        send(signal.SIGTERM)
        raise OSError("the disk is full")  # the save that follows a signal


def test_a_recorded_signal_waits_for_the_save_and_a_second_does_not(monkeypatch):
    with StopRequest() as stop:
        send(signal.SIGHUP)
        send(signal.SIGHUP)  # the same request
        assert stop.signal_number == signal.SIGHUP
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 2)
        with pytest.raises(Interrupted) as stopped:
            send(signal.SIGINT)
    assert (stopped.value.signal_number, stopped.value.step) == (signal.SIGINT, None)


def test_evaluation_and_tracing_do_not_wait(two_blocks, tmp_path, monkeypatch):
    recipe = small_recipe("vanilla", train_steps=4, cadence__steps_per_eval=2)

    def run(**options):
        with StopRequest() as stop, pytest.raises(Interrupted) as stopped:
            run_training(recipe, tmp_path, stop_signal=lambda: stop.signal_number, at_once=stop.at_once, **options)
        return stopped.value

    with monkeypatch.context() as patched:
        patched.setattr(StepLoop, "trace", lambda *_: send(signal.SIGTERM))
        assert run().step is None  # nothing to save
    assert not (tmp_path / "checkpoints").exists()
    assert run(evaluate=lambda: send(signal.SIGTERM)).line.startswith("stopped by SIGTERM at step 2, state saved")
    assert tf.train.latest_checkpoint(str(tmp_path / "checkpoints")).endswith("step-2")


def test_workers_stop_together():
    with StopRequest(shared=True) as stop:
        with stop.at_once(1):
            send(signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM


def test_a_run_whose_reader_is_gone_saves_its_state(tmp_path):
    """Ctrl-C under `2>&1 | tee log`: the reader ends first."""
    process = start_main(
        "--mode=train",
        f"--model_dir={tmp_path}",
        "--train_steps=4000",
        "--iterations_per_loop=1",
        "--scheme=vanilla",
        "--width_coefficient=0.25",
        "--depth_coefficient=0.2",
        "--input_image_size=16",
        "--train_batch_size=16",
        two_blocks=True,
    )
    for line in process.stderr:
        if line.startswith("first 1 step(s) done"):
            break
    process.stdout.close()
    process.stderr.close()
    time.sleep(1)  # steps without a reader
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 128 + signal.SIGINT
    assert list((tmp_path / "checkpoints").glob("step-*.index"))


def lost_stream(encoding="utf-8") -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return io.TextIOWrapper(open(writer, "wb"), encoding=encoding)


def test_printing_without_a_reader_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", lost_stream())
    monkeypatch.setattr(sys, "stderr", None)
    keep_printing()
    for _ in range(3):
        print("dropped", flush=True)
        print("dropped", file=sys.stderr, flush=True)
    # Both descriptors lead nowhere now, so that TensorFlow's own output has no lost reader either.
    for stream in (sys.stdout, sys.stderr):
        assert os.path.samestat(os.fstat(stream.fileno()), os.stat(os.devnull))
        stream.close()


def test_printing_to_a_full_disk_is_a_warning(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", open("/dev/full", "w"))  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    keep_printing()
    for _ in range(3):
        print("dropped", flush=True)
    sys.stdout.close()
    sys.stderr.flush()
    assert sys.stderr.buffer.getvalue() == b"warning: /dev/full cannot be written: No space left on device\n"


def test_names_that_the_terminal_cannot_show_are_escaped(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    keep_printing()
    print("é 中\udcff", flush=True)
    print("é \udcff", file=sys.stderr, flush=True)
    assert sys.stdout.buffer.getvalue() == b"\\xe9 \\u4e2d\\udcff\n"
    assert sys.stderr.buffer.getvalue() == "é \\udcff\n".encode()
