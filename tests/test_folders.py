"""Names with characters that patterns read, writes that were killed half way, and folders that two processes want."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from efficientnet_advprop import locks
from efficientnet_advprop.data import find_images
from efficientnet_advprop.data.shards import find_shards
from efficientnet_advprop.files import remove_leftovers
from efficientnet_advprop.paths import named_like, paths_like, plain_path
from efficientnet_advprop.recipes import RecipeError
from efficientnet_advprop.training import run_folder
from tests.small import small_recipe
from tests.test_tfrecord import write_split

ODD_NAMES = ("set [v1]", "a*b", "why?", "back\\slash", "[", "[!x]")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_means_itself_whatever_characters_it_holds(tmp_path, name):
    folder, other = tmp_path / name, tmp_path / "set v"  # which the pattern `set [v1]` matches
    for one in {folder, other}:
        one.mkdir()
        write_split(one, "train", (2, 1))
        for file in ("1.jpg", "[2].jpg", "2.jpg"):
            (one / file).write_text("")
    assert [os.path.basename(path) for path in find_shards(str(folder), "train").paths] == [
        "train-00000-of-00002",
        "train-00001-of-00002",
    ]
    assert named_like(str(folder), "*.jpg") == [f"{folder}/{file}" for file in ("1.jpg", "2.jpg", "[2].jpg")]
    assert find_images(f"{folder}/*.jpg") == named_like(str(folder), "*.jpg")
    assert find_images(f"{folder}/[12].jpg") == [f"{folder}/1.jpg", f"{folder}/2.jpg"]
    assert find_images(f"{folder}/[2].jpg") == [f"{folder}/[2].jpg"]  # a file of that very name
    assert f"{folder}/1.jpg" in paths_like(f"{tmp_path}/*/1.jpg")
    assert Path(plain_path(str(folder)), "1.jpg").samefile(folder / "1.jpg")
    assert Path(plain_path(str(folder / "1.jpg"))).samefile(folder / "1.jpg")


def test_relative_patterns_and_escaped_characters(tmp_path, monkeypatch):
    (tmp_path / "[a]").mkdir()
    (tmp_path / os.fsdecode(b"\xff")).mkdir()  # no UTF-8
    for name in ("1.jpg", "x*y"):
        (tmp_path / "[a]" / name).write_text("")
    monkeypatch.chdir(tmp_path)
    assert paths_like("[a]/*.jpg") == paths_like("\\[a\\]/1.*") == ["[a]/1.jpg"]
    assert paths_like("./*/x\\**") == paths_like("./*/x*y") == ["./[a]/x*y"]
    assert paths_like("none/*") == paths_like("") == paths_like("/") == []


def test_a_remote_folder_that_a_reader_would_misread_is_refused():
    assert plain_path("gs://bucket/run/step-1") == "gs://bucket/run/step-1"
    with pytest.raises(RecipeError, match=r"gs://bucket/b0 \[1\]/step-1 cannot be read: .* rename it"):
        plain_path("gs://bucket/b0 [1]/step-1")


def test_leftovers_go_and_nothing_else(tmp_path):
    left = ("recipe.json.tmp", "metrics.jsonl.tmp", "checkpoint.tmp0f3a", ".writable-12", ".writable-12.tmp")
    left_folders = ("step-12_temp", ".unfinished-77", ".worker-1")
    kept = ("notes.tmp", "recipe.json", "step-12.index", "1", "step-1_temporary")
    for name in (*left, *kept):
        (tmp_path / name).write_text("x")
    for name in left_folders:
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_text("x")
    remove_leftovers(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    remove_leftovers(str(tmp_path / "absent"))


@pytest.fixture
def as_another_process(monkeypatch):
    """Makes what this process holds look like another's; the beats on remote storage are short."""
    for name, seconds in (("_BEAT_S", 0.1), ("_SILENT_S", 0.6), ("_SETTLED_S", 0.01)):
        monkeypatch.setattr(locks, name, seconds)
    return locks._held.clear


@pytest.mark.parametrize("remote", [False, True])
def test_a_second_process_is_refused_while_the_first_lives(tmp_path, remote, as_another_process):
    folder = f"ram:/{tmp_path}/run" if remote else str(tmp_path / "run")
    with locks.hold("model_dir", folder):
        with locks.hold("model_dir", folder):  # the same process, as an export into the run's own folder
            pass
        as_another_process()
        message = rf"model_dir .*run is in use by process {os.getpid()} on .*: wait until it ends, or give another"
        with pytest.raises(RecipeError, match=message), locks.hold("model_dir", folder):
            pass
    with locks.hold("model_dir", folder):
        pass
    assert not (tmp_path / "run").exists()  # made for nothing


HOLD_AND_WAIT = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_no_obstacle(tmp_path):
    lock = tmp_path / locks.LOCK_FILE
    with subprocess.Popen([sys.executable, "-c", HOLD_AND_WAIT, lock], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(RecipeError, match="is in use by another process"), locks.hold("model_dir", str(tmp_path)):
            pass
        process.send_signal(signal.SIGKILL)
    (tmp_path / "recipe.json.tmp").write_text("")
    with locks.hold("model_dir", str(tmp_path)):
        assert os.listdir(tmp_path) == [locks.LOCK_FILE]
    assert os.listdir(tmp_path) == []


def test_the_mark_of_a_dead_process_on_remote_storage_is_no_obstacle(tmp_path, as_another_process, capsys):
    folder = f"ram:/{tmp_path}"
    locks._write(f"{folder}/{locks.LOCK_FILE}", "process 1 on a machine that is gone\nits beats\n")
    with locks.hold("model_dir", folder):
        pass
    assert "in use by process 1 on a machine that is gone: watching" in capsys.readouterr().out


def test_a_file_system_without_locks_is_used_without(tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locks.hold("model_dir", str(tmp_path)):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("inside", ["checkpoints", "best", "checkpoints/deep/er"])
def test_an_output_folder_among_the_checkpoints_of_a_run_is_refused(tmp_path, inside):
    run_folder.record_recipe(str(tmp_path / "run"), small_recipe())
    with pytest.raises(RecipeError, match=r"model_dir .* lies among the checkpoints of the run in"):
        run_folder.require_place("model_dir", str(tmp_path / "run" / inside))
    for good in ("run", "run/predictions", "checkpoints", "best/run"):
        run_folder.require_place("model_dir", str(tmp_path / good))
    (tmp_path / "link").symlink_to(tmp_path / "run" / "checkpoints")
    with pytest.raises(RecipeError, match="lies among the checkpoints"):
        run_folder.require_place("model_dir", str(tmp_path / "link"))


@pytest.mark.parametrize("root", ["/", "//", "/usr/.."])
def test_the_root_of_the_file_system_is_no_output_folder(root):
    with pytest.raises(RecipeError, match="is the root of the file system"):
        run_folder.require_place("export_dir", root)


@pytest.mark.parametrize("pattern", ["ram://none/x/*.jpg", "ram://none/*.jpg"])
def test_a_bucket_that_is_not_there_is_named(pattern):
    with pytest.raises(RecipeError, match=r"no file matches ram://none/.*; there is no folder ram://none"):
        find_images(pattern)
