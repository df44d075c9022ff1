"""The two stacks (requirements.txt): which Keras `tf.keras` is, and which environment the Makefile makes."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import tensorflow as tf

import efficientnet_advprop
from tests.command_line import ROOT

KERAS = int(importlib.metadata.version("keras").partition(".")[0])


def test_tf_keras_is_keras_2():
    assert tf.keras.Model.__module__.partition(".")[0] == ("keras" if KERAS == 2 else "tf_keras")


@pytest.fixture
def keras_3(monkeypatch) -> pytest.MonkeyPatch:
    """Keras 3 and tf-keras look installed; TensorFlow is not imported, and no variable is set."""
    monkeypatch.setattr(importlib.metadata, "version", {"keras": "3.15.1"}.get)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    return monkeypatch


def tensorflow_whose_keras_is(module: str) -> types.SimpleNamespace:
    return types.SimpleNamespace(keras=types.SimpleNamespace(Model=type("Model", (), {"__module__": module})))


def test_keras_2_is_selected_before_tensorflow_and_after(keras_3):
    efficientnet_advprop._use_keras_2()
    assert os.environ["TF_USE_LEGACY_KERAS"] == "1"
    keras_3.setitem(sys.modules, "tensorflow", tensorflow_whose_keras_is("tf_keras.src.engine.training"))
    efficientnet_advprop._use_keras_2()


def test_keras_3_is_refused_with_the_remedy(keras_3):
    with keras_3.context() as patch, pytest.raises(ImportError, match="pip install tf-keras"):
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        efficientnet_advprop._use_keras_2()
    with keras_3.context() as patch, pytest.raises(ImportError, match="TF_USE_LEGACY_KERAS=0 selects Keras 3"):
        patch.setenv("TF_USE_LEGACY_KERAS", "0")
        efficientnet_advprop._use_keras_2()
    keras_3.setitem(sys.modules, "tensorflow", tensorflow_whose_keras_is("keras.src.models.model"))
    with pytest.raises(ImportError, match="import efficientnet_advprop before that"):
        efficientnet_advprop._use_keras_2()


@pytest.mark.skipif(KERAS == 2, reason="Keras 3 is not installed")
def test_an_import_after_keras_3_was_used_is_refused():
    script = "import tensorflow as tf; tf.keras.Model; import efficientnet_advprop"
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"ImportError: efficientnet_advprop needs Keras 2, and tf.keras is Keras 3" in done.stderr


def stand_in(path: Path, version: str) -> None:
    """An interpreter that answers the Makefile's question as that version does."""
    stack = {"3.10": "tf215", "3.11": "tf215", "3.12": "tf221", "3.13": "tf221"}.get(version)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {stack} {version} '/pythons of/{version}'\n" if stack else "#!/bin/sh\n")
    path.chmod(0o755)


def dry_run(folder: Path, on_path: tuple[str, ...], python: str | None) -> subprocess.CompletedProcess:
    """What `make lint` would do where only these interpreters are on the PATH."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "requirements.txt", "constraints.txt", "constraints-tf221.txt", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder)
    for version in on_path:
        stand_in(folder / "on path" / f"python{version}", version)
    arguments = [make, "--dry-run", "lint", *([f"PYTHON={python}"] if python else [])]
    environment = {"PATH": str(folder / "on path")}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("on_path", "venv_is", "python", "makes", "with_lock"),
    [
        (("3.13",), None, None, (".venv", "3.13"), "constraints-tf221.txt"),
        (("3.12", "3.13"), None, None, (".venv", "3.13"), "constraints-tf221.txt"),
        (("3.10", "3.12", "3.14"), None, None, (".venv", "3.10"), "constraints.txt"),
        (("3.10", "3.11", "3.13"), None, None, (".venv", "3.11"), "constraints.txt"),
        (("3.11", "3.13"), None, "python3.13", (".venv-tf221", "3.13"), "constraints-tf221.txt"),
        (("3.13",), "3.11", "python3.13", (".venv-tf221", "3.13"), "constraints-tf221.txt"),
        (("3.11", "3.13"), "3.13", "python3.11", (".venv", "3.11"), "constraints.txt"),
        (("3.10", "3.11"), "3.11", "python3.10", (".venv", "3.10"), "constraints.txt"),
        (("3.13",), "3.11", None, None, "constraints.txt"),
        (("3.11", "3.13"), "3.13", None, None, "constraints-tf221.txt"),
        (("3.11",), "3.11", "python3.11", None, "constraints.txt"),
    ],
)
def test_the_makefile_chooses_interpreter_environment_and_lock(on_path, venv_is, python, makes, with_lock, tmp_path):
    if venv_is:
        stand_in(tmp_path / ".venv/bin/python", venv_is)
    done = dry_run(tmp_path, on_path, python)
    assert done.returncode == 0, done.stderr
    new = re.findall(r"^python='/pythons of/(\S+)' .* -m venv --clear (\S+)$", done.stdout, re.M)
    assert new == ([makes[::-1]] if makes else [])
    assert set(re.findall(r"-c (constraints\S*)", done.stdout)) == {with_lock}
    assert f"\n{makes[0] if makes else '.venv'}/bin/python -m ruff check" in done.stdout


@pytest.mark.parametrize(("on_path", "python"), [((), None), (("3.14",), None), (("3.11", "3.14"), "python3.14")])
def test_no_interpreter_of_a_stack_is_one_line(on_path, python, tmp_path):
    done = dry_run(tmp_path, on_path, python)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "Python 3.10 to 3.13" in line
    assert "PYTHON=" in line


def test_the_makefile_asks_a_real_interpreter(tmp_path):
    done = dry_run(tmp_path, (), sys.executable)
    assert done.returncode == 0, done.stderr
    lock = "constraints.txt" if KERAS == 2 else "constraints-tf221.txt"
    assert set(re.findall(r"-c (constraints\S*)", done.stdout)) == {lock}
    assert f"python='{sys._base_executable}'" in done.stdout
