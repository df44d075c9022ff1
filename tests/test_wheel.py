"""The wheel: it holds all that the package needs, and nothing of the command line."""

import shutil
import subprocess
import sys

import pytest

from tests.command_line import ROOT

IN_WHEEL = ("efficientnet_advprop", "tpu_utils")

USE = """
import importlib, pkgutil, sys
from pathlib import Path

installed = Path(sys.argv[1])
sys.path.insert(0, str(installed))
for name in sys.argv[2:]:
    package = importlib.import_module(name)
    assert Path(package.__file__).is_relative_to(installed), package.__file__
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)

import numpy as np
from efficientnet_advprop import build_model
from efficientnet_advprop.data import class_names

model = build_model("efficientnet-b0", 1000, ("main", "auxiliary"), width_coefficient=0.25, depth_coefficient=0.2)
print(model(np.zeros([1, 32, 32, 3], np.float32), branch="auxiliary").shape, class_names(1000)[999])
"""


def python(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel of this checkout, installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy: setuptools leaves a folder build/ in the tree, and with it deleted modules in the next wheel.
    source = folder / "source"
    without_caches = shutil.ignore_patterns("__pycache__")
    for name in (*IN_WHEEL, "flags"):
        shutil.copytree(ROOT / name, source / name, ignore=without_caches)
    for name in ("main.py", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    python("-m", "pip", "wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    python("-m", "pip", "install", *offline, "--target", folder / "installed", wheel)
    return folder / "installed"


def test_every_file_of_the_library_is_in_the_wheel(installed):
    def files(root):
        paths = {path.relative_to(root) for name in IN_WHEEL for path in (root / name).rglob("*") if path.is_file()}
        return {path for path in paths if not path.name.startswith(".") and "__pycache__" not in path.parts}

    assert files(installed) == files(ROOT)
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == set(IN_WHEEL)


def test_the_wheel_works_without_the_checkout(installed):
    """Every module is imported and a network computes, with this project's code from the wheel alone."""
    out = python("-I", "-c", USE, installed, *IN_WHEEL)
    assert out.splitlines()[-1] == "(1, 1000) toilet tissue"
