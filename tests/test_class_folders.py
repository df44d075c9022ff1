"""Class folders: which files are images, what is left out and said, which label a folder has, and for how long."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import unicodedata

import pytest

from efficientnet_advprop.data import class_folders, find_source, labelled_as
from efficientnet_advprop.data.source import EVALUATION, TRAIN
from efficientnet_advprop.evaluation import ResultsFile
from efficientnet_advprop.modes.recorded import labelled_as_run, labelled_as_study
from efficientnet_advprop.recipes import RecipeError, StudySpec, plan
from tests.command_line import ROOT, refused, run
from tests.studies import finished, make_recipe
from tests.test_bad_images import encoded, make_image

NUMBERS = [str(number) for number in range(12)]
AS_TEXT = tuple(sorted(NUMBERS))
PNG = encoded(make_image(), "PNG")


def write(folder, names, train=2, evaluation=1):
    for split, images in (("train", train), ("val", evaluation)):
        for name in names:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(images):
                (folder / split / name / f"{number}.png").write_bytes(PNG)
    return folder


def labels_by_class(source, split):
    """The label of each class folder."""
    records = source.records(None, split).as_numpy_iterator()
    return {os.path.basename(os.path.dirname(path.decode())): int(label) for path, (_, label) in records}


@pytest.mark.parametrize(
    ("names", "in_order", "note"),
    [
        (NUMBERS, NUMBERS, "numbers that name the class folders (0, 1, 2, ...), not as text (0, 1, 10, ...)"),
        (["10", "9", "0011"], ["9", "10", "0011"], "(9, 10, 0011), not as text (0011, 10, 9)"),
        (["0", "1", "2"], ["0", "1", "2"], None),
        (["01", "02", "10"], ["01", "02", "10"], None),
        (["9", "10", "none"], ["10", "9", "none"], None),
    ],
)
def test_folders_that_are_whole_numbers_are_in_the_order_of_the_numbers(tmp_path, names, in_order, note):
    source = find_source("imagenet", str(write(tmp_path, names)))
    assert source.class_names == tuple(in_order)
    for split in (TRAIN, EVALUATION):
        assert labels_by_class(source, split) == {name: label for label, name in enumerate(in_order)}
    assert [note in said for said in source.facts.notes] == ([] if note is None else [True])


def test_a_record_of_another_order_keeps_it_and_other_classes_change_nothing(tmp_path):
    source = find_source("imagenet", str(write(tmp_path, NUMBERS)), train_images_per_class=1)
    old = labelled_as(source, AS_TEXT, "runs/old")
    assert old.class_names == AS_TEXT and source.class_names == tuple(NUMBERS)
    for split in (TRAIN, EVALUATION):
        assert labels_by_class(old, split) == {name: label for label, name in enumerate(AS_TEXT)}
    assert old.facts.notes == ("labels: as in runs/old (0, 1, 10, ...)",)
    assert dataclasses.replace(old.facts, notes=source.facts.notes) == source.facts
    for names in (None, tuple(NUMBERS), AS_TEXT[:-1], ("a", *AS_TEXT[1:])):
        assert labelled_as(source, names, "x") is source


RUN = (
    *("--model=efficientnet-b0", "--width_coefficient=0.25", "--depth_coefficient=0.2", "--input_image_size=16"),
    *("--scheme=vanilla", "--train_batch_size=4"),
)


@pytest.fixture
def old_run(tmp_path, two_blocks, monkeypatch, capsys):
    """A run, and what its evaluation printed, of the version that sorted the numbers as text."""
    write(tmp_path / "data", NUMBERS)
    for label, name in enumerate(AS_TEXT):  # an image of its own for each class: the loss tells which label it got
        image = make_image().point(lambda value, label=label: value * label // 12)
        (tmp_path / "data" / "val" / name / "0.png").write_bytes(encoded(image, "PNG"))
    arguments = (f"--data_dir={tmp_path / 'data'}", f"--model_dir={tmp_path / 'run'}")
    with monkeypatch.context() as patch:
        patch.setattr(class_folders, "in_label_order", sorted)
        run("--mode=train", *RUN, "--train_steps=3", *arguments, capsys=capsys)
        evaluated, _ = run("--mode=eval", *arguments, capsys=capsys)
    return arguments, evaluated


def test_an_old_run_resumes_and_evaluates_with_its_labels(old_run, tmp_path, capsys):
    arguments, evaluated = old_run
    out, _ = run("--mode=train", *RUN, "--train_steps=3", *arguments, capsys=capsys)
    assert f"labels: as in the run in {tmp_path}/run (0, 1, 10, ...)\n" in out
    assert "not as text" not in out and "resuming at step 3 of 3" in out
    again, _ = run("--mode=eval", *arguments, capsys=capsys)
    assert re.search(r"^labels: as in .*step-3 \(0, 1, 10, ...\)$", again, re.M)
    assert re.findall(r"(?:loss|top)\S* +\S+", again) == re.findall(r"(?:loss|top)\S* +\S+", evaluated)
    weights = (f"--init_checkpoint={tmp_path}/run", f"--model_dir={tmp_path}/tuned", arguments[0])
    out, _ = run("--mode=train", *RUN, "--train_steps=1", *weights, capsys=capsys)
    assert re.search(r"^labels: as in .*step-3 \(0, 1, 10, ...\)$", out, re.M)
    source = find_source("imagenet", str(tmp_path / "data"))
    assert labelled_as_run(source, str(tmp_path / "tuned"), None).class_names == AS_TEXT
    assert labelled_as_run(source, str(tmp_path / "none"), None) is source
    # A study whose first run was interrupted: only the checkpoint of that run tells.
    trials = plan(StudySpec(("efficientnet-b0",), ("vanilla",), 2, ()), make_recipe)
    shutil.copytree(tmp_path / "run", tmp_path / "study" / "cells" / trials[1].key)
    assert labelled_as_study(source, str(tmp_path / "study"), trials).class_names == AS_TEXT


def test_an_old_study_keeps_its_labels(tmp_path):
    source = find_source("imagenet", str(write(tmp_path / "data", NUMBERS)))
    trials = plan(StudySpec(("efficientnet-b0",), ("vanilla",), 2, ()), make_recipe)
    old = finished(trials[1])
    old.evaluated = dataclasses.replace(old.evaluated, class_names=AS_TEXT)
    ResultsFile(str(tmp_path)).write({trials[1].key: old})
    source = labelled_as_study(source, str(tmp_path), trials)
    assert source.class_names == AS_TEXT
    assert source.facts.notes == (f"labels: as in the study in {tmp_path} (0, 1, 10, ...)",)


def test_what_is_left_out_is_counted_by_kind_with_an_example(tmp_path, capsys):
    data = write(tmp_path / "data", ["ant", "bee"], train=4)
    ant, bee = data / "train" / "ant", data / "train" / "bee"
    (ant / "more").mkdir()
    (ant / "3.png").rename(ant / "more" / "3.png")
    for name in ("2.webp", "3.WEBP"):
        (bee / name.lower().replace("webp", "png")).rename(bee / name)
    (bee / "notes").write_text("")
    (bee / ".hidden.png").write_bytes(PNG)
    (data / "val" / "5.png").write_bytes(PNG)
    os.mkfifo(ant / "pipe.png")  # reading it would never end
    (ant / "zero.png").symlink_to("/dev/zero")
    (ant / "gone.png").symlink_to("nowhere")
    (ant / "itself.png").symlink_to("itself.png")
    (ant / "link.png").symlink_to(ant / "0.png")
    source = find_source("imagenet", str(data))
    assert (source.facts.num_train_images, source.facts.num_eval_images) == (3 + 1 + 2, 2)
    (note,) = source.facts.notes
    assert note == (
        f"left out: pipes, devices and broken links: 4, such as {ant}/gone.png; .webp files: 2, such as {bee}/2.webp; "
        f"beside the class folders: 1, such as {data}/val/5.png; files without a suffix: 1, such as {bee}/notes; "
        f"folders in class folders: 1, such as {ant}/more; hidden files: 1, such as {bee}/.hidden.png"
    )
    out, _ = run("--mode=check_data", f"--data_dir={data}", f"--model_dir={tmp_path}/check", capsys=capsys)
    assert f"{note}\n" in out and "train: 6 images, 0 of them bad" in out
    for number in range(9):
        (bee / f"1.{number:03d}").write_bytes(PNG)
    (note,) = find_source("imagenet", str(data)).facts.notes
    assert note.endswith("; of 9 other kinds: 9") and "\n" not in note


def test_a_class_without_images_says_what_is_there_instead(tmp_path, capsys):
    data = write(tmp_path / "data", ["ant", "bee"])
    (data / "train" / "bee" / "0.png").rename(data / "train" / "bee" / "0.webp")
    (data / "train" / "bee" / "1.png").unlink()
    line = refused("--mode=check_data", f"--data_dir={data}", f"--model_dir={tmp_path}/check", capsys=capsys)
    folder = data / "train" / "bee"
    assert line == (
        f"error: class folder {folder} has no JPEG, PNG, GIF or BMP files (.webp files: 1, such as {folder}/0.webp)"
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("a.JFIF", "JPEG"), ("a.jpe", "JPEG"), ("a.bmp", "BMP"), ("a.gif", "GIF"), ("a.PNG", "PNG")]
)
def test_every_format_that_is_decoded_is_read(tmp_path, name, kind):
    data = write(tmp_path, ["ant", "bee"])
    (data / "train" / "ant" / name).write_bytes(encoded(make_image(), kind))
    source = find_source("imagenet", str(data))
    assert source.facts.num_train_images == 5 and source.facts.notes == ()


def test_names_composed_and_decomposed_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    for split, names in (("train", (composed, decomposed, "Zoo")), ("val", (decomposed, "Zoo"))):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "0.png").write_bytes(PNG)
    source = find_source("imagenet", str(tmp_path))
    assert source.class_names == (composed, "Zoo")
    assert labels_by_class(source, TRAIN) == {composed: 0, decomposed: 0, "Zoo": 1}
    old = labelled_as(source, (decomposed, "Zoo"), "runs/old")  # an older version kept the name of the folder
    assert old.class_names == (decomposed, "Zoo") and old.facts.notes == ()


def test_names_that_are_not_utf8_are_read_and_shown(tmp_path, capsys):
    data = write(tmp_path / "data", ["ant", "bee"])
    for split in ("train", "val"):
        (data / split / "ant").rename(os.fsdecode(os.fsencode(data / split) + b"/caf\xe9"))
    folder = os.fsencode(data) + b"/train/caf\xe9"
    os.rename(folder + b"/0.png", folder + b"/\xe9t\xe9.png")
    check = ("--mode=check_data", f"--data_dir={data}", f"--model_dir={tmp_path}/check")
    out, _ = run(*check, capsys=capsys)
    assert out.endswith("problems found: none\n")
    assert find_source("imagenet", str(data)).class_names == ("bee", "caf\\xe9")
    with open(folder + b"/\xe9t\xe9.png", "wb") as file:
        file.write(b"no image")
    with pytest.raises(SystemExit):
        run(*check, capsys=capsys)
    assert "caf\ufffd/\ufffdt\ufffd.png: cannot be read or decoded" in capsys.readouterr().out


def test_a_pipe_as_a_data_file_is_refused(tmp_path):
    for split in ("train", "validation"):
        os.mkfifo(tmp_path / f"{split}-00000-of-00001")
    with pytest.raises(RecipeError, match="validation-00000-of-00001 is not a regular file"):
        find_source("imagenet", str(tmp_path))


def test_a_pipe_among_the_images_to_predict_is_skipped(tmp_path):
    """In a process of its own: where it is read, nothing can end it."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "a.png").write_bytes(PNG)
    with open(os.fsencode(tmp_path) + b"/\xe9.png", "wb") as file:
        file.write(PNG)
    script = (
        "from efficientnet_advprop.data import find_images, read_images\n"
        "from efficientnet_advprop.recipes import named_recipe\n"
        "spec = named_recipe('efficientnet-b0', 'digits', 'vanilla').data\n"
        f"for path, image in read_images(find_images('{tmp_path}/*.png'), 8, spec):\n"
        "    print(path.rpartition('/')[2], image if isinstance(image, str) else image.shape)\n"
    )
    read = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert read.stdout.splitlines() == [
        "a.png (8, 8, 3)",
        "pipe.png not a regular file",
        "zero.png not a regular file",
        "\\xe9.png (8, 8, 3)",
    ], read.stderr
