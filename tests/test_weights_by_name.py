"""Weights by name, address or archive: found, kept and checked."""

import os
import re
import stat
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import main
from efficientnet_advprop.models.weights import (
    archives,
    cache,
    downloads,
    load_official_checkpoint,
    open_weights,
    releases,
)
from efficientnet_advprop.recipes import NETWORKS
from efficientnet_advprop.training.run_folder import recorded_recipe
from tests.archives import archive_of, evil, left_in, packed
from tests.command_line import refused, run, set_flags
from tests.official_checkpoint import official_tensors, write_tf1
from tests.release import ARCHIVE, CHECKPOINT, NAME, message, narrow_b0, released, released_archive, released_model
from tests.small import values

pytestmark = pytest.mark.usefixtures("few_blocks")


@pytest.fixture(scope="module")
def model() -> tf.keras.Model:
    return released_model()


@pytest.fixture(scope="module")
def archive(model, tmp_path_factory) -> bytes:
    return released_archive(model, tmp_path_factory.mktemp("official"))


@pytest.fixture
def server(archive):
    with released(archive) as server:
        yield server


@pytest.fixture
def cache_dir(tmp_path) -> str:
    return str(tmp_path / "cache")


def test_the_released_archives():
    """As tensorflow/tpu, models/official/efficientnet/README.md links them."""
    advprop = ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"]
    expected = {
        **{f"advprop/efficientnet-{size}": f"advprop/efficientnet-{size}.tar.gz" for size in advprop},
        "ckpts/efficientnet-b0": "ckpts/efficientnet-b0.tar.gz",
        "ckpts/efficientnet-b1": "ckpts/efficientnet-b1.tar.gz",
        "ckpts/efficientnet-b2": "ckpts/efficientnet-b2.tar.gz",
        "ckpts/efficientnet-b3": "ckpts/efficientnet-b3.tar.gz",
        "ckpts/efficientnet-b4": "ckpts/efficientnet-b4.tar.gz",
        "ckpts/efficientnet-b5": "ckpts/efficientnet-b5.tar.gz",
        **{f"ckptsaug/efficientnet-{size}": f"ckptsaug/efficientnet-{size}.tar.gz" for size in advprop[:8]},
        "randaug/efficientnet-b5": "randaug/efficientnet-b5-randaug.tar.gz",
        "randaug/efficientnet-b7": "randaug/efficientnet-b7-randaug.tar.gz",
        "noisystudent/efficientnet-b0": "noisystudent/noisy_student_efficientnet-b0.tar.gz",
        "noisystudent/efficientnet-b1": "noisystudent/noisy_student_efficientnet-b1.tar.gz",
        "noisystudent/efficientnet-b2": "noisystudent/noisy_student_efficientnet-b2.tar.gz",
        "noisystudent/efficientnet-b3": "noisystudent/noisy_student_efficientnet-b3.tar.gz",
        "noisystudent/efficientnet-b4": "noisystudent/noisy_student_efficientnet-b4.tar.gz",
        "noisystudent/efficientnet-b5": "noisystudent/noisy_student_efficientnet-b5.tar.gz",
        "noisystudent/efficientnet-b6": "noisystudent/noisy_student_efficientnet-b6.tar.gz",
        "noisystudent/efficientnet-b7": "noisystudent/noisy_student_efficientnet-b7.tar.gz",
        "noisystudent/efficientnet-l2": "noisystudent/noisy_student_efficientnet-l2.tar.gz",
        "noisystudent/efficientnet-l2_475": "noisystudent/noisy_student_efficientnet-l2_475.tar.gz",
    }
    assert expected == releases.ARCHIVES
    assert releases.SPELLINGS["noisystudent/noisy_student_efficientnet-l2_475"] == "noisystudent/efficientnet-l2_475"
    assert releases.SPELLINGS["randaug/efficientnet-b5-randaug"] == "randaug/efficientnet-b5"
    assert releases.BASE_ADDRESS == "https://storage.googleapis.com/cloud-tpu-checkpoints/efficientnet/"
    for name in releases.ARCHIVES:
        assert releases.network_of(name) in NETWORKS
        assert releases.preprocessing_of_path(name) == ("advprop" if name.startswith("advprop") else "imagenet")


def test_a_name_is_downloaded_once(server, cache_dir, model, capsys):
    weights = open_weights(NAME, cache_dir)
    assert server.asked == [(ARCHIVE, None)]
    assert left_in(cache_dir) == CHECKPOINT
    assert weights.facts.settings == {"network.name": "efficientnet-b0", "network.preprocessing": "advprop"}
    assert weights.facts.num_classes == 10
    assert capsys.readouterr().err.startswith(f"downloading {server.address}{ARCHIVE} (")
    loaded = narrow_b0()
    weights.load(loaded)
    np.testing.assert_equal(values(loaded), values(model))
    open_weights(NAME, cache_dir)
    open_weights(f"{NAME}/", cache_dir, offline=True)
    assert len(server.asked) == 1


def test_the_library_takes_names_too(server, cache_dir, model, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    loaded = narrow_b0()
    assert load_official_checkpoint(loaded, NAME) == []
    np.testing.assert_equal(values(loaded), values(model))
    assert left_in(str(tmp_path / ".cache" / "efficientnet_advprop")) == CHECKPOINT


def test_a_local_path_comes_first(server, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_tf1(tmp_path / NAME / "model.ckpt", official_tensors(model))
    write_tf1(tmp_path / "ckpts" / "efficientnet-b0", official_tensors(model))
    assert open_weights(NAME, offline=True).facts.path == f"{NAME}/model.ckpt"
    assert open_weights("ckpts/efficientnet-b0").facts.settings["network.preprocessing"] == "imagenet"
    line = refused("--mode=export", f"--init_checkpoint={NAME}", "--cache_dir=a", capsys=capsys)
    assert line == f"error: --cache_dir would have no effect: {NAME} is a local path"
    assert "no checkpoint" in message("none/here", "a")
    assert server.asked == [] and not Path("a").exists() and not Path("home").exists()


def test_an_archive_on_this_machine_is_unpacked_once(server, archive, cache_dir, model, tmp_path):
    """A folder in the given path tells the preprocessing; the archive stays, and one of other content is another."""
    path = tmp_path / ARCHIVE
    path.parent.mkdir()
    path.write_bytes(archive)
    weights = open_weights(str(path), cache_dir, offline=True)
    assert weights.facts.settings["network.preprocessing"] == "advprop"
    assert weights.facts.hinting_folder == "advprop"
    loaded = narrow_b0()
    weights.load(loaded)
    np.testing.assert_equal(values(loaded), values(model))
    kept = left_in(cache_dir)
    assert [os.path.basename(name) for name in kept] == [os.path.basename(name) for name in CHECKPOINT]
    renamed = path.rename(tmp_path / "weights.tgz")
    again = open_weights(str(renamed), cache_dir)
    assert (again.facts.path, again.facts.hinting_folder) == (weights.facts.path, None)
    assert left_in(cache_dir) == kept and renamed.read_bytes() == archive and server.asked == []
    Path(again.facts.path + ".index").unlink()
    assert re.search(r"; remove .*/archives/\w{16} to unpack it again$", message(str(renamed), cache_dir))


def test_an_archive_on_this_machine_that_is_of_no_use_stays(archive, cache_dir, tmp_path, capsys):
    path = tmp_path / "b0.tar.gz"
    for content, words in (
        (archive[:5000], "it is incomplete (5,000 bytes): download it again"),
        (b"<html>", "it is no .tar.gz"),
        (archive_of(("readme", b"nothing")), "no checkpoint in it"),
    ):
        path.write_bytes(content)
        line = refused("--mode=export", f"--init_checkpoint={path}", f"--cache_dir={cache_dir}", capsys=capsys)
        assert line.startswith(f"error: {path} is of no use: {words}")
        assert path.read_bytes() == content and not os.path.exists(cache_dir)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("advprop/efficientnet-b9", "advprop/efficientnet-b8"),
        ("ckpts/efficientnet-b7", "ckpts/efficientnet-b5"),
        ("advprob/efficientnet-b7", "advprop/efficientnet-b7"),
        ("noisystudent/noisy_student_efficientnet-b8", "noisystudent/efficientnet-b"),
        ("efficientnet-b7", "such as advprop/efficientnet-b7, ckptsaug/efficientnet-b7, "),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(name, near, server, cache_dir, capsys):
    given = f"--init_checkpoint={name}"
    assert near in refused("--mode=export", given, f"--cache_dir={cache_dir}", capsys=capsys)
    assert server.asked == [] and not os.path.exists(cache_dir)


def test_offline_refuses_what_is_not_in_the_cache(server, cache_dir, capsys):
    given = ("--mode=export", f"--init_checkpoint={NAME}", f"--cache_dir={cache_dir}", "--offline")
    assert "is not in the cache" in refused(*given, capsys=capsys)
    assert server.asked == [] and not os.path.exists(cache_dir)


@pytest.mark.parametrize("flag", ["--offline", "--cache_dir=a"])
def test_flags_without_effect_are_refused(flag, tmp_path, capsys):
    line = refused("--mode=train", f"--model_dir={tmp_path}", flag, capsys=capsys)
    assert line.endswith("would have no effect without --init_checkpoint")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"")
    line = refused("--mode=eval", f"--init_checkpoint={tmp_path / '1'}", flag, capsys=capsys)
    assert "would have no effect on a SavedModel" in line


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (evil("../evil"), "outside of its own folder"),
        (evil("efficientnet-b0/../../evil"), "outside of its own folder"),
        (evil("/tmp/evil"), "outside of its own folder"),
        (evil("evil", tarfile.SYMTYPE, "/etc/passwd"), "neither a file nor a folder"),
        (evil("evil", tarfile.LNKTYPE, "../../evil"), "neither a file nor a folder"),
        (evil("evil", tarfile.CHRTYPE), "neither a file nor a folder"),
        (evil("evil", tarfile.FIFOTYPE), "neither a file nor a folder"),
        (evil("a"), "cannot be unpacked"),  # a second file of this name
        (evil("a/b"), "cannot be unpacked"),
        (evil("b" * 300), "cannot be unpacked"),
        (evil("a", tarfile.GNUTYPE_SPARSE), "neither a file nor a folder"),
    ],
)
def test_a_member_that_leaves_its_folder_is_refused(member, words, server, cache_dir, tmp_path):
    server.files[ARCHIVE] = archive_of(("a", b"1"), (member, b""))
    assert words in message(NAME, cache_dir)
    assert list(tmp_path.iterdir()) == [] and not Path("/tmp/evil").exists()


def test_what_is_too_large_is_refused(server, cache_dir, monkeypatch):
    content = os.urandom(5_000)
    server.files[ARCHIVE] = archive_of(("a", content + bytes(100_000)))
    monkeypatch.setattr(archives, "LARGEST_BYTES", 100_000)
    assert "unpacks to more than 100,000 bytes" in message(NAME, cache_dir)
    server.declared = ""
    monkeypatch.setattr(downloads, "LARGEST_BYTES", 3_000)
    assert "is larger than 0.0 MB" in message(NAME, cache_dir)
    assert not os.path.exists(cache_dir)


def test_an_archive_of_other_weights_is_refused(server, cache_dir, model, tmp_path):
    server.files[ARCHIVE] = archive_of(("efficientnet-b0/readme", b"nothing"))
    assert "no file *.index" in message(NAME, cache_dir)
    write_tf1(tmp_path / "other" / "model.ckpt", {"kernel": np.ones(3)})
    server.files[ARCHIVE] = packed(tmp_path / "other", "efficientnet-b0")
    assert "neither an official" in message(NAME, cache_dir)
    server.files["advprop/efficientnet-b1.tar.gz"] = packed_b0 = self_packed(model, tmp_path)
    assert "holds efficientnet-b0, not efficientnet-b1" in message("advprop/efficientnet-b1", cache_dir)
    assert not os.path.exists(cache_dir)
    server.files[ARCHIVE] = packed_b0
    open_weights(NAME, cache_dir)
    (tmp_path / "made").mkdir()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "made", Path(cache_dir) / NAME)}
    assert len(modes) == 1 and modes != {0o700}  # others may read a shared cache


def self_packed(model, tmp_path) -> bytes:
    """Without a folder around it."""
    write_tf1(tmp_path / "flat" / "model.ckpt", official_tensors(model))
    return packed(tmp_path / "flat", ".")


def test_addresses_keep_their_place_in_the_cache(server, cache_dir, monkeypatch, tmp_path):
    """A folder of the address tells the preprocessing, one of the cache does not."""
    host = server.address.removeprefix("http://").rstrip("/")
    cache_dir = str(tmp_path / "ckpts")
    address = f"{server.address}{ARCHIVE}"
    assert open_weights(address, cache_dir).facts.settings["network.preprocessing"] == "advprop"
    server.files["b0.tar.gz"] = server.files[ARCHIVE]
    other = open_weights(f"{server.address}b0.tar.gz?version=3", cache_dir)
    assert other.facts.settings["network.preprocessing"] is None
    folders = {os.path.dirname(path) for path in left_in(cache_dir)}
    assert folders == {f"https/{host}/{ARCHIVE}", f"https/{host}/77e5b7a5/b0.tar.gz"} or len(folders) == 2
    asked = len(server.asked)
    assert open_weights(address, cache_dir, offline=True).origin == "official efficientnet-b0"
    assert len(server.asked) == asked


def test_a_single_file_is_kept_as_it_is(server, cache_dir):
    server.files["a/model.safetensors"] = b"weights"
    opened = []
    path = cache.local_weights(f"{server.address}a/model.safetensors", opened.append, cache_dir)
    assert Path(path).read_bytes() == b"weights" and path.endswith("/a/model.safetensors")
    assert [os.path.basename(name) for name in opened] == ["model.safetensors"]
    assert left_in(cache_dir) == [os.path.relpath(path, cache_dir)]


def test_an_archive_of_one_file_is_kept_as_a_folder(server, cache_dir):
    server.files["one.tar.gz"] = archive_of(("model.safetensors", b"weights"))
    opened = []

    def check(path: str) -> None:
        opened.append(Path(path, "model.safetensors").read_bytes())

    address = f"{server.address}one.tar.gz"
    first = cache.local_weights(address, check, cache_dir)
    assert cache.local_weights(address, check, cache_dir) == first
    assert opened == [b"weights"] * 2 and len(server.asked) == 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://example.org/b0.tar.gz", "begins with https://"),
        ("https://example.org/b0.zip", "is no address of weights"),
        ("https://example.org/../../b0.tar.gz", "is no address of weights"),
        ("https://../b0.tar.gz", "is no address of weights"),
        ("https://user:word@example.org/b0.tar.gz", "without a user's name"),
        ("http://localhost:80@example.org/b0.tar.gz", "without a user's name"),
        ("https://[/b0.tar.gz", "https://[/b0.tar.gz cannot be downloaded: "),
        ("https:///b0.tar.gz", "is no address of weights"),
    ],
)
def test_addresses_that_name_no_weights_are_refused(address, words, cache_dir, capsys):
    given = ("--mode=export", f"--init_checkpoint={address}", f"--cache_dir={cache_dir}")
    assert words in refused(*given, capsys=capsys)
    assert not os.path.exists(cache_dir)


def test_a_cache_that_cannot_be_written_is_refused(server, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    given = ("--mode=export", f"--init_checkpoint={NAME}")
    where = tmp_path / "file" / "cache"
    assert f"cache_dir {where}" in refused(*given, f"--cache_dir={where}", capsys=capsys)
    assert "a local folder is needed" in message(NAME, "gs://bucket/cache")
    full = OSError(28, "No space left on device")

    def write(*arguments):
        raise full

    monkeypatch.setattr(downloads, "_write", write)
    line = refused(*given, f"--cache_dir={tmp_path / 'full'}", capsys=capsys)
    assert line == f"error: cache_dir {tmp_path / 'full'} has no space left"
    assert not (tmp_path / "full").exists()


def test_a_damaged_entry_names_the_folder_to_remove(server, cache_dir):
    open_weights(NAME, cache_dir)
    (Path(cache_dir) / NAME / "model.ckpt.index").unlink()
    assert message(NAME, cache_dir).endswith(f"; remove {cache_dir}/{NAME} to download it again")


def test_a_run_from_a_name_resumes_without_it(server, cache_dir, tmp_path, capsys, monkeypatch):
    run_folder = tmp_path / "run"
    arguments = (
        "--mode=train",
        f"--init_checkpoint={NAME}",
        f"--cache_dir={cache_dir}",
        f"--model_dir={run_folder}",
        "--width_coefficient=0.25",
        "--depth_coefficient=0.2",
        "--train_batch_size=8",
        "--train_steps=1",
        "--strategy=one_device",
    )
    run(*arguments, capsys=capsys)
    assert recorded_recipe(str(run_folder)).init_checkpoint == NAME
    monkeypatch.setattr(releases, "BASE_ADDRESS", "http://127.0.0.1:9/")
    for path in Path(cache_dir).rglob("*.index"):
        path.unlink()
    run(*arguments, "--offline", capsys=capsys)
    assert len(server.asked) == 1


def test_main_opens_a_name(server, cache_dir):
    values = set_flags("--mode=eval", f"--init_checkpoint={NAME}", f"--cache_dir={cache_dir}")
    assert main.open_given(values, values.init_checkpoint).facts.num_classes == 10
    started = time.monotonic()
    values = set_flags("--mode=eval", f"--init_checkpoint={server.address}{ARCHIVE}", f"--cache_dir={cache_dir}")
    assert main.open_given(values, values.init_checkpoint).facts.num_classes == 10
    assert time.monotonic() - started < 20
