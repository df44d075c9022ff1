"""The README and the pages: their commands are ones that main.py and make take, and their links lead somewhere.

Python blocks are run by test_python_blocks.py, the examples of docs/extending.md by test_extending.py; the lines of
docs/troubleshooting.md are in test_troubleshooting.py.
"""

import importlib.util
import itertools
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import flags as absl_flags

import flags
from efficientnet_advprop.evaluation.published import published_results
from efficientnet_advprop.models import build_model
from efficientnet_advprop.recipes import NETWORKS, DataFacts, WeightsFacts
from tests.command_line import ROOT, run_main, set_flags
from tests.documentation import (
    PAGES,
    README,
    anchors,
    command_lines,
    links,
    main_commands,
    name_of,
    prose,
)
from tests.official_checkpoint import official_tensors, write_tf1

COMMANDS = [
    pytest.param(command, id=f"{name_of(page)}-{n}") for page in PAGES for n, command in enumerate(main_commands(page))
]
MAKEFILE = (ROOT / "Makefile").read_text()


def test_the_pages_have_their_commands():
    """The block of another language, or another way to write a command, would go unread."""
    named = sum(page.read_text().count("\npython main.py") for page in PAGES)
    assert len(COMMANDS) == named > 70


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_main_takes(command):
    values = set_flags(*command)
    flags.refuse_contradictions(values)
    given = {argument.removeprefix("--").partition("=")[0] for argument in command}
    taken = {flag.name for flag in flags.FLAGS if values[flag.name].present}
    assert {name if name in taken else name.removeprefix("no") for name in given} == taken
    settings = read_settings(values)
    if isinstance(settings, flags.Settings) and "model" in taken:
        assert settings.recipe.network.name == values.model


def read_settings(values: absl_flags.FlagValues) -> object:
    """As main.py does, but for what files would say: weights are of ImageNet's classes, images are not counted."""
    if values.mode == "plan":
        return flags.plan_from_flags(values)
    if values.mode == "compare":
        return flags.comparison_from_flags(values)
    if values.mode == "study":
        return flags.study_from_flags(values, DataFacts("data", 10))
    weights = facts_of(values) if values.init_checkpoint else None
    flags.data_request(values, weights)
    return flags.settings_from_flags(values, None, weights)


def facts_of(values: absl_flags.FlagValues) -> WeightsFacts:
    named = [name for name in NETWORKS if name in (values.init_checkpoint, values.model)]
    network = named[0] if named else "efficientnet-b0"
    settings = {"network.name": network, "network.preprocessing": values.preprocessing or "advprop"}
    return WeightsFacts(values.init_checkpoint, settings, 1000)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_has_the_targets(page):
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    in_blocks = [line.split()[1] for line in command_lines(page) if re.match(r"make \w", line)]
    in_text = re.findall(r"`make ([\w-]+)[^`]*`", prose(page))
    assert {*in_blocks, *in_text} <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_scripts_and_modules_are_there(page):
    """Of all pages: a command of `python`, in a block or in the text, with a path or behind `-m`."""
    text = page.read_text()
    for module in re.findall(r"python -m (benchmarks[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), module
    for script in re.findall(r"python ([\w/]+\.py)", text):
        assert (ROOT / script).exists(), script


def test_help_of_make_names_every_target():
    targets = set(re.search(r"^\.PHONY: (.*) FORCE$", MAKEFILE, re.MULTILINE)[1].split())
    assert set(re.findall(r"@echo 'make ([\w-]+)", MAKEFILE)) == targets - {"help"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", [page for page in PAGES if page != README], ids=name_of)
def test_pages_link_within_the_site(page):
    for link in links(page):
        if not link.startswith("https://"):
            target = (page.parent / link.partition("#")[0]).resolve()
            assert target.is_relative_to(ROOT / "docs"), link


def test_every_page_is_in_the_index_and_in_the_site():
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page != README}
    index = {link.partition("#")[0] for link in links(ROOT / "docs/index.md")}
    assert pages - {"index.md"} == {link for link in index if link.endswith(".md")}
    assert set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)) == pages


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert f"\nversion: {version}\n" in citation


def test_the_readme_is_short():
    assert README.read_text().count("\n") <= 150


def test_the_results_of_the_readme_are_those_of_the_pages_that_it_links():
    """Every number with a decimal point of the column `measured here`."""
    rows = [line.split("|")[1:-1] for line in README.read_text().splitlines() if line.startswith("| ")]
    header = next(row for row in rows if "measured here" in row[2])
    assert [cell.strip() for cell in header] == ["", "published", "measured here", "details"]
    measured = 0
    for _, _, here, details in rows[rows.index(header) + 1 :]:
        pages = "".join((ROOT / link.partition("#")[0]).read_text() for link in re.findall(r"\]\(([^)]+)\)", details))
        for number in re.findall(r"\d+\.\d+", here):
            assert number in pages, f"{number} of {here}"
            measured += 1
    assert measured > 15


def test_the_published_results_are_those_of_the_comparison():
    text = (ROOT / "docs/comparing.md").read_text().partition("## Published results")[2]
    networks = [name for name in NETWORKS if name.startswith(("efficientnet-b", "resnet-"))]
    published = {
        f"{100 * value:.1f}"
        for result in published_results(networks)
        for value in (result.imagenet, result.mce, result.imagenet_a, result.stylized)
        if value is not None and result.scheme not in ("adversarial", "adversarial_then_clean")
    }
    assert set(re.findall(r"(?<=\| )\d+\.\d", text)) == published


@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="digits are scikit-learn's")
def test_the_drawing_is_drawn(tmp_path):
    script = ROOT / "docs/figures/advprop.py"
    spec = importlib.util.spec_from_file_location("advprop_figure", script)
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    drawing.main(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_text().startswith("<?xml")
        assert (script.parent / path.name).exists()
    assert len(list(tmp_path.iterdir())) == 2


MKDOCS = ROOT / ".venv-docs/bin/python"


@pytest.mark.skipif(not MKDOCS.exists(), reason="not installed: make docs")
def test_the_site_needs_no_other_host(tmp_path):
    """It builds without a warning, and its pages load scripts, styles, fonts and images from its own folder."""
    command = [MKDOCS, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", tmp_path]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|source|iframe)[^>]* src(?:set)?="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]* rel="(?:stylesheet|preload|preconnect|icon)"[^>]*>', text)
        assert loaded
        assert not [one for one in loaded if "//" in one], page


TINY = ("--train_steps=2", "--iterations_per_loop=1", "--width_coefficient=0.25", "--depth_coefficient=0.2")
SMALL = ("--input_image_size=16", "--train_batch_size=8")


@pytest.fixture
def here(tmp_path, monkeypatch, two_blocks) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_tiny(command: list[str], *more: str) -> None:
    mode = next((argument for argument in command if argument.startswith("--mode=")), "")
    run_main(*command, *(() if mode else (*TINY, *more)))


def test_the_commands_of_the_first_run(here):
    """From training to the export, in the order of the page."""
    commands = [
        command for command in main_commands(ROOT / "docs/getting_started.md") if "--model_dir=runs/demo" in command
    ]
    assert len(commands) == 4
    for command in commands:
        run_tiny(command, "--input_image_size=16")
    left = {path.name for path in (here / "runs/demo").iterdir()}
    assert {
        "recipe.json",
        "metrics.jsonl",
        "checkpoints",
        "best",
        "summary.json",
        "adversarial_examples.png",
        "report.md",
    } <= left
    assert {path.name for path in (here / "runs/demo/saved_model").iterdir()} == {"1", "2"}


def write_images(folder: Path, number: int) -> None:
    folder.mkdir(parents=True)
    for n in range(number):
        image = np.random.default_rng(n).integers(0, 256, (20, 24, 3), np.uint8)
        (folder / f"{n}.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())


def test_the_commands_for_photographs(here):
    """Fine-tuning of a file in Google's layout, in the place that its name has."""
    for split, name in itertools.product(("train", "val"), ("cat", "dog")):
        write_images(here / "PHOTOS" / split / name, 8)
    write_images(here / "new", 2)
    model = build_model("efficientnet-b0", preprocessing="advprop", width_coefficient=0.25, depth_coefficient=0.2)
    write_tf1(here / "advprop/efficientnet-b0", official_tensors(model))
    page = (ROOT / "docs/training.md").read_text()
    section = here / "section.md"
    section.write_text(re.search(r"^## 200 photographs\n.*?(?=^## )", page, re.DOTALL | re.MULTILINE)[0])
    check, train, predict = main_commands(section)
    run_main(*check)
    run_tiny(train, *SMALL)
    run_main(*predict)
    assert (here / "runs/photos/predictions.json").exists()
