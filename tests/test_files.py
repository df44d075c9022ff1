"""Files are written whole or not at all, and nothing but a file is replaced."""

import os
import stat
import tempfile
import threading

import pytest
import tensorflow as tf

from efficientnet_advprop.files import require_reachable, write_atomic
from efficientnet_advprop.recipes import RecipeError
from efficientnet_advprop.training.run_folder import require_writable_file


def test_the_target_of_a_link_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    chain, link = tmp_path / "chain", tmp_path / "link"
    link.symlink_to("chain")
    chain.symlink_to("there/file")
    for text in ("one", "two"):  # at first the target is missing
        require_writable_file("output", str(link))
        write_atomic(str(link), text)
        assert (tmp_path / "there/file").read_text() == text
    assert link.is_symlink()
    assert chain.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["chain", "link", "there"]
    assert os.listdir(tmp_path / "there") == ["file"]


def test_links_in_a_circle_stay(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(link)
    with pytest.raises(RecipeError, match=f"^output {link} cannot be written: Too many levels of symbolic links$"):
        require_writable_file("output", str(link))
    with pytest.raises(OSError, match="symbolic links"):
        write_atomic(str(link), "text")
    assert link.is_symlink()


def test_a_device_stays_a_device(tmp_path):
    (tmp_path / "null").symlink_to(os.devnull)
    for path in (os.devnull, str(tmp_path / "null")):
        require_writable_file("output", path)
        write_atomic(path, b"bytes")
        assert stat.S_ISCHR(os.stat(path).st_mode)
    assert (tmp_path / "null").is_symlink()
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_atomic("/dev/full", "text")


def test_the_reader_of_a_fifo_gets_the_content(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    require_writable_file("output", str(fifo))
    write_atomic(str(fifo), "text")
    reader.join()
    assert read == [b"text"]
    assert stat.S_ISFIFO(os.stat(fifo).st_mode)


def test_standard_output_is_not_replaced_where_it_is_a_file(tmp_path, monkeypatch):
    file = tmp_path / "out"
    file.write_text("printed, ")
    with file.open("a") as opened:
        write_atomic(f"/dev/fd/{opened.fileno()}", "written")
        opened.write("")
    assert file.read_text() == "printed, written"


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="/dev/shm cannot be written")
def test_a_file_in_shared_memory_is_replaced():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for text in ("first", "second"):
            write_atomic(f"{folder}/recipe.json", text)
            with open(f"{folder}/recipe.json") as file:
                assert file.read() == text
        assert os.listdir(folder) == ["recipe.json"]


def test_storage_that_cannot_be_reached_is_refused(monkeypatch):
    with pytest.raises(RecipeError, match=r"^model_dir s3://a/b: TensorFlow reads local paths and gs://, not s3://$"):
        require_reachable("model_dir", "s3://a/b")

    def unreachable(path):
        raise tf.errors.FailedPreconditionError(None, None, "Could not resolve host\n\t when reading metadata")

    monkeypatch.setattr(tf.io.gfile, "exists", unreachable)
    with pytest.raises(RecipeError, match=r"^model_dir gs://a/b cannot be reached: Could not resolve host$"):
        require_reachable("model_dir", "gs://a/b")
