"""The notebook examples/quickstart.ipynb: its cells run, and what is committed as their outputs."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

from tests.command_line import ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
CODE = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]

# Of TensorFlow alone; on its newer versions the variable selects Keras 2.
WITHOUT_THE_PACKAGE = """
import sys
import numpy as np
import tensorflow as tf

images = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 1)).astype(np.float32)
plain = tf.keras.models.load_model("runs/quickstart/digits.keras")
(served,) = tf.saved_model.load("runs/quickstart/served").signatures["serving_default"](tf.constant(images)).values()
np.testing.assert_allclose(served, plain.predict(images, verbose=0), atol=1e-5)
print([name for name in sys.modules if name.startswith("efficientnet_advprop")], served.shape)
"""


def python(script: str, folder: os.PathLike, **environment: str) -> str:
    """The standard output of a script in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def one_epoch(script: str) -> str:
    script, changed = re.subn(r"^EPOCHS = \d+$", "EPOCHS = 1", script, flags=re.MULTILINE)
    assert changed == 1
    return script


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The folder in which all cells ran, in order and in one process, and what they printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    script = one_epoch("\n".join("".join(cell["source"]) for cell in CODE))
    return folder, python(script, folder, MPLBACKEND="Agg", PYTHONPATH=str(ROOT))


def test_the_cells_run_and_print_what_is_committed(executed):
    """But for the numbers, which one epoch changes; the cells themselves compare the saved models' predictions."""
    _, printed = executed
    committed = "".join(
        "".join(output["text"]) for cell in CODE for output in cell["outputs"] if output["output_type"] == "stream"
    )
    assert [without_numbers(line) for line in printed.splitlines()] == [
        without_numbers(line) for line in committed.splitlines()
    ]


def without_numbers(line: str) -> str:
    return re.sub(r"\s*[\d.,]+%", " %", line)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Runs the first cell where the package is not installed; returns the commands that it would run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    def run(repository: str, version: tuple[int, int]) -> list[list[str]]:
        commands = []
        monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
        monkeypatch.setattr(sys, "version_info", version)
        script = "".join(CODE[0]["source"])
        assert script.count('REPOSITORY = ""') == 1
        exec(script.replace('REPOSITORY = ""', f"REPOSITORY = {repository!r}"), {})
        return commands

    return run


@pytest.mark.parametrize(("version", "lock"), [((3, 11), "constraints.txt"), ((3, 12), "constraints-tf221.txt")])
def test_the_first_cell_installs_the_versions_of_the_lock(install, version, lock):
    assert (ROOT / lock).exists()
    clone, pip = install("https://example.org/code.git", version)
    assert clone == ["git", "clone", "--depth=1", "https://example.org/code.git", "advprop"]
    assert pip == [sys.executable, "-m", "pip", "install", "--quiet", "./advprop", "-c", f"advprop/{lock}"]
    os.mkdir("advprop")  # a second try after an installation that failed
    assert install("https://example.org/code.git", version) == [pip]


def test_the_first_cell_says_what_it_needs(install):
    with pytest.raises(SystemExit, match="set REPOSITORY in this cell"):
        install("", (3, 12))


def test_what_it_saves_needs_tensorflow_alone(executed):
    folder, _ = executed
    assert python(WITHOUT_THE_PACKAGE, folder, TF_USE_LEGACY_KERAS="1", PYTHONPATH="") == "[] (4, 10)\n"


def test_committed_outputs():
    """Of one run from the top, with pictures and without warnings and log lines; small."""
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    assert all(cell["metadata"] == {} for cell in CODE)
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "display_data"}
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert NOTEBOOK.stat().st_size < 400_000
