"""docs/extending.md: its patches apply to a copy of the code, all together, and do what the page says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "tests/data/run_of_version_1/recipe.json"

CHECKS = f"""
import pathlib
import tensorflow as tf
from efficientnet_advprop.attacks import perturb
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import (
    SCHEMES, AttackSpec, BenchmarkSpec, digest, from_json, named_recipe, override, to_json
)

# The attack stays in its ball and is another one.
images = tf.random.stateless_uniform([2, 4, 4, 3], [0, 1], 0, 255)
direction = tf.random.stateless_normal(images.shape, [0, 2])
moved = {{}}
for method in ("pgd", "soft_sign"):
    spec = AttackSpec(method, epsilon_px=4.0, random_start=False)
    moved[method] = perturb(lambda x: tf.reduce_sum(x * direction, (1, 2, 3)), images, spec, [0, 3])
assert 0 < tf.reduce_max(abs(moved["soft_sign"] - images)) <= 4 + 1e-4
assert tf.reduce_max(abs(moved["soft_sign"] - moved["pgd"])) > 0.1

# The scheme has its branches and its cost: three terms and one step of PGD.
recipe = named_recipe("efficientnet-b0", "digits", "mixed_auxiliary")
assert recipe.branches == ("main", "auxiliary") and recipe.passes_per_image() == 4

# The network has a norm per branch; the benchmark is known.
network = build_model("plain-4", num_classes=10, branches=("main", "auxiliary"))
assert network(tf.zeros([1, 32, 32, 3]), branch="auxiliary").shape == [1, 10]
BenchmarkSpec(("imagenet_drawing",), {{"imagenet_drawing": "FOLDER"}}).validate()

# A record from before the flag keeps its digest; a recipe that uses the flag has another one.
old = from_json(pathlib.Path({str(RECORD)!r}).read_text())
assert old.optimizer.gradient_clip_norm == 0
clipped = override(old, {{"optimizer.gradient_clip_norm": 1.0}})
assert from_json(to_json(clipped)) == clipped
print("digests", digest(old), digest(clipped))
"""


@pytest.fixture(scope="module")
def patched(tmp_path_factory) -> Path:
    """A copy of the code with every patch of the page."""
    copy = tmp_path_factory.mktemp("patched")
    shutil.copy(ROOT / "main.py", copy)
    for name in ("flags", "tpu_utils", "efficientnet_advprop"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    patches = re.findall(r"^```diff\n(.*?)^```$", (ROOT / "docs/extending.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(patches) == 6
    for patch in patches:
        # Outside of a repository, whatever folder the tests write to.
        environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)}
        subprocess.run(["git", "apply", "-"], cwd=copy, input=patch, text=True, check=True, env=environment)
    return copy


def python(copy: Path, *arguments: str) -> str:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_example_does_what_it_says(patched):
    from efficientnet_advprop.recipes import digest, from_json

    before = digest(from_json(RECORD.read_text()))
    old, clipped = python(patched, "-c", CHECKS).split("digests ")[1].split()
    assert old == before != clipped


def test_the_examples_train_together_from_the_command_line(patched):
    python(
        patched,
        "main.py",
        "--mode=train",
        "--model=plain-4",
        "--scheme=mixed_auxiliary",
        "--attack=soft_sign",
        "--gradient_clip_norm=0.01",
        "--train_steps=2",
        "--iterations_per_loop=1",
        "--model_dir=run",
    )
    *_, last = map(json.loads, (patched / "run/metrics.jsonl").read_text().splitlines())
    assert last["images_per_second"] > 0
    assert {"loss/clean", "loss/clean_again", "loss/adversarial"} <= set(last)
    record = json.loads((patched / "run/recipe.json").read_text())
    assert (record["version"], record["optimizer"]["gradient_clip_norm"]) == (6, 0.01)


def test_every_file_that_the_page_names_exists():
    text = (ROOT / "docs/extending.md").read_text()
    now = [row.split("|")[3] for row in text.splitlines() if row.startswith("| ") and "`" in row]
    named = {name for cell in now for name in re.findall(r"`([\w/]+\.py)`", cell) if "NAME" not in name}
    assert named
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "efficientnet_advprop" / name).exists(), name
