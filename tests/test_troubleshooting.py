"""docs/troubleshooting.md: its error lines are those of the code, and mistakes are answered by them."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import ROOT, refused

HEADINGS = re.findall(r"^### `(.+)`$", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
CODE = ("flags", "efficientnet_advprop", "tpu_utils")


def strings_of_the_code() -> Iterator[str]:
    """Every string of the code, with `\\0` for what is put into it."""
    for file in itertools.chain([ROOT / "main.py"], *((ROOT / room).rglob("*.py") for room in CODE)):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_error_lines_are_those_of_the_code():
    """`...` stands for what differs; the words between stand in one message, in this order."""
    assert len(HEADINGS) >= 20
    code = list(strings_of_the_code())
    for line in HEADINGS:
        pattern = re.compile(pattern_of(line), re.DOTALL)
        assert any(pattern.search(text) for text in code), line


# Commands that are refused before images or devices are opened, with the heading of the page that they lead to.
MISTAKES = {
    "unknown ...": ["--mode=study", "--schemes=vanilla,advprob"],
    "--... would have no effect: ...": ["--scheme=vanilla", "--attack_epsilon=2"],
    "--... is read by --mode=..., not by ...": ["--advprop", "--images=photos/*.jpg"],
    "--advprop and --scheme=... contradict each other": ["--advprop", "--scheme=vanilla"],
    "--train_steps and --train_epochs both give": ["--advprop", "--train_steps=9", "--train_epochs=2"],
    "... is outside ...": ["--advprop", "--attack_epsilon=-1"],
    "--mode=predict needs --images": ["--mode=predict", "--init_checkpoint=advprop/efficientnet-b0"],
    "--mode=study needs --schemes": ["--mode=study", "--seeds=3"],
    "schemes ...: ... is needed to compare with": ["--mode=study", "--schemes=advprop,joint"],
    "no folder ...": ["--advprop", "--data_dir=nowhere"],
    "data_dir ... holds neither TFRecords": ["--advprop", "--data_dir=empty"],
    "dataset imagenet needs data_dir, ...": ["--advprop", "--dataset=imagenet"],
    "... is ..., but ... holds ...": ["--advprop", "--num_label_classes=7"],
    "train_batch_size ... is more than the": ["--advprop", "--train_batch_size=2048"],
    "--train_images_per_class=... is more than the": ["--advprop", "--train_images_per_class=1000"],
    "no run in ...: ... not found": ["--mode=eval", "--model_dir=empty"],
    "no evaluation in ...: ...": ["--mode=compare", "--compare=empty"],
    "no checkpoint ...: neither a path here nor": ["--mode=export", "--init_checkpoint=advprop/efficientnet-b9"],
    "no checkpoint ...: neither a folder nor": ["--mode=export", "--init_checkpoint=nowhere"],
    "... is a single file, not a checkpoint; ...": ["--mode=export", "--init_checkpoint=file.tar"],
    "freeze_epochs ...: random weights are not worth freezing": ["--advprop", "--freeze_epochs=1"],
    "no TPU is named": ["--advprop", "--strategy=tpu"],
    "no device ...; known: ...": ["--mode=plan", "--devices=a100"],
}


@pytest.mark.parametrize("heading", MISTAKES)
def test_a_mistake_leads_to_its_heading(heading, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TPU_NAME", raising=False)
    Path("empty").mkdir()
    Path("file.tar").write_bytes(b"")
    (whole,) = [line for line in HEADINGS if line.startswith(heading)]
    line = refused(*MISTAKES[heading], capsys=capsys)
    assert re.search(pattern_of(whole), line), line


def pattern_of(heading: str) -> str:
    """Matches the error lines that a heading stands for."""
    return ".*".join(re.escape(part) for part in heading.split("..."))
