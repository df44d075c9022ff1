"""Downloads of weights: cut, resumed, checked; nothing half-written stays."""

import multiprocessing
import os
import re
import time
from pathlib import Path

import pytest

from efficientnet_advprop.models.weights import (
    cache,
    downloads,
    open_weights,
    releases,
)
from tests.archives import left_in
from tests.release import ARCHIVE, CHECKPOINT, NAME, message, released, released_archive, released_model

pytestmark = pytest.mark.usefixtures("few_blocks")


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    return released_archive(released_model(), tmp_path_factory.mktemp("official"))


@pytest.fixture
def server(archive):
    with released(archive) as server:
        yield server


@pytest.fixture
def cache_dir(tmp_path) -> str:
    return str(tmp_path / "cache")


def test_a_cut_download_goes_on_in_the_same_call(server, cache_dir, archive):
    server.cut_after = [1000, 2000]
    open_weights(NAME, cache_dir)
    assert [given for _, given in server.asked] == [None, "bytes=1000-", "bytes=3000-"]
    assert left_in(cache_dir) == CHECKPOINT


def test_a_download_that_is_cut_again_and_again_goes_on_in_the_next_call(server, cache_dir):
    server.cut_after = [1000, 0, 0, 0]
    assert "the next call goes on after 0.0 MB" in message(NAME, cache_dir)
    assert left_in(cache_dir) == [f"{NAME}.download.part", f"{NAME}.download.part.version"]
    open_weights(NAME, cache_dir)
    assert server.asked[-1] == (ARCHIVE, "bytes=1000-")
    assert left_in(cache_dir) == CHECKPOINT


def test_a_file_that_has_changed_is_not_completed(server, cache_dir):
    server.cut_after = [1000, 0, 0, 0]
    message(NAME, cache_dir)
    server.tag = '"2"'
    open_weights(NAME, cache_dir)
    assert left_in(cache_dir) == CHECKPOINT


def test_a_server_that_cannot_resume_is_asked_for_all(server, cache_dir):
    server.resumes, server.cut_after = False, [1000]
    open_weights(NAME, cache_dir)
    assert server.asked == [(ARCHIVE, None)] * 2
    assert left_in(cache_dir) == CHECKPOINT


@pytest.mark.parametrize("failure", ["cut", "404", "500", "length", "refused connection", "html"])
def test_a_failed_download_leaves_nothing(failure, server, cache_dir, monkeypatch):
    server.resumes = False
    match failure:
        case "cut":
            server.cut_after, words = [1000] * 4, "cut after|Connection|IncompleteRead|more expected"
        case "404":
            server.files.clear()
            words = "404 Not Found"
        case "500":
            server.statuses, words = [500] * 4, "500 Internal Server Error"
        case "length":
            server.declared, words = "999999999", "more expected|cut after"
        case "refused connection":
            monkeypatch.setattr(releases, "BASE_ADDRESS", "http://127.0.0.1:9/")
            words = "Connection refused; without a network, fetch it elsewhere and give the file's path"
        case "html":
            server.files[ARCHIVE] = b"<!DOCTYPE html><html>Please log in</html>"
            words = r"is no \.tar\.gz"
    assert re.search(words, message(NAME, cache_dir))
    assert not os.path.exists(cache_dir)


def test_a_passing_failure_of_the_server_is_waited_for(server, cache_dir):
    server.statuses = [503, 500]
    open_weights(NAME, cache_dir)
    assert len(server.asked) == 3


def test_a_wrong_length_is_noticed(server, cache_dir, archive):
    server.declared = str(len(archive) // 2)
    assert f"it is incomplete ({len(archive) // 2:,} bytes): download it again" in message(NAME, cache_dir)
    server.declared = ""
    open_weights(NAME, cache_dir)


def test_without_a_length_a_cut_is_noticed(server, cache_dir):
    server.declared, server.cut_after = "", [5000]
    assert "it is incomplete (5,000 bytes)" in message(NAME, cache_dir)
    assert not os.path.exists(cache_dir)


def test_a_damaged_piece_is_noticed(server, cache_dir, archive):
    middle = len(archive) // 2
    server.files[ARCHIVE] = archive[:middle] + bytes(100) + archive[middle + 100 :]
    assert "a damaged one" in message(NAME, cache_dir)
    assert not os.path.exists(cache_dir)


def test_redirects_are_followed_but_not_to_where_anyone_may_answer(server, cache_dir):
    server.files["moved"] = server.files[ARCHIVE]
    server.files[ARCHIVE] = f"{server.address}moved"
    open_weights(NAME, cache_dir)
    server.files["ckpts/efficientnet-b0.tar.gz"] = server.address.replace("127.0.0.1", "127.0.0.2") + "moved"
    assert "https:// is needed" in message("ckpts/efficientnet-b0", cache_dir)
    asked = len(server.asked)
    for target, words in (
        ("http://localhost:80@127.0.0.2/moved", "without a user's name"),
        ("http://localhost%2e127.0.0.2/moved", "https:// is needed"),
        ("https://[/moved", "https://[/moved cannot be downloaded"),
    ):
        server.files["ckpts/efficientnet-b0.tar.gz"] = target
        assert words in message("ckpts/efficientnet-b0", cache_dir)
    assert len(server.asked) == asked + 3  # once each


def test_progress_is_said_now_and_then(server, cache_dir, monkeypatch, capsys):
    monkeypatch.setattr(downloads, "_SECONDS_BETWEEN_LINES", 0.05)
    server.pause_s = 0.2
    open_weights(NAME, cache_dir)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"efficientnet-b0\.tar\.gz: [\d.]+ MB of [\d.]+ MB", lines[1])


def open_in_another_process(base: str, cache_dir: str, answers) -> None:
    releases.BASE_ADDRESS = base
    answers.put(cache.local_weights(NAME, cache.CheckpointFile, cache_dir))


def test_of_two_processes_one_downloads_and_the_other_completes_what_a_killed_one_left(server, cache_dir):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    server.pause_s = 60.0
    processes = [
        context.Process(target=open_in_another_process, args=(server.address, cache_dir, answers)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    part, lock = Path(cache_dir) / f"{NAME}.download.part", Path(cache_dir) / "advprop" / ".lock"
    deadline = time.monotonic() + 120
    while not (part.exists() and part.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.asked == [(ARCHIVE, None)]
    server.pause_s = 0.0
    holder = int(re.match(r"process (\d+) on ", lock.read_text())[1])
    for process in processes:
        if process.pid == holder:
            process.kill()
    assert answers.get(timeout=120) == f"{cache_dir}/{NAME}"
    for process in processes:
        process.join()
    assert sorted(process.exitcode for process in processes) == [-9, 0]
    (_, _), (_, resumed_from) = server.asked
    assert re.fullmatch(r"bytes=\d{5,}-", resumed_from)
    assert left_in(cache_dir) == CHECKPOINT
