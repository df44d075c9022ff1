"""Unpacking of archives that may be damaged or malicious, without a download."""

import gzip
import stat
import tarfile
import tracemalloc

import pytest

from efficientnet_advprop.models.weights import archives
from efficientnet_advprop.recipes import RecipeError
from tests.archives import archive_of, evil, left_in


def member_header(kind: bytes, size: int) -> bytes:
    info = evil("a", kind)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("headers", "zeros", "words"),
    [
        (member_header(tarfile.XHDTYPE, 2**25), 2**25, "a header of more than 65,536 bytes"),
        (member_header(tarfile.GNUTYPE_LONGNAME, 2**25), 2**25, "a header of more than 65,536 bytes"),
        (member_header(tarfile.DIRTYPE, 0) + member_header(tarfile.XHDTYPE, 2**25), 2**25, "a header of more than"),
        (member_header(tarfile.GNUTYPE_LONGNAME, 0) * 10**4, 0, "a header of more than 65,536 bytes|recursion"),
        (member_header(tarfile.DIRTYPE, 0) * 1001, 0, "more than 1,000 files and folders"),
        (member_header(tarfile.REGTYPE, 2**40), 0, "unpacks to more than 17,179,869,184 bytes"),
        (member_header(tarfile.REGTYPE, -1024), 1024, "is no .tar.gz, or a damaged one"),
    ],
    ids=("pax", "long name", "second", "nested", "members", "declared", "negative"),
)
def test_an_archive_takes_no_memory_for_headers(headers, zeros, words, tmp_path):
    (tmp_path / "archive").write_bytes(gzip.compress(headers + bytes(zeros), 1))
    (tmp_path / "to").mkdir()
    tracemalloc.start()
    try:
        with pytest.raises(RecipeError, match=words):
            archives.unpack(str(tmp_path / "archive"), str(tmp_path / "to"))
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_what_follows_the_files_counts_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_BYTES", 100_000)
    (tmp_path / "archive").write_bytes(gzip.compress(bytes(200_000)))
    with pytest.raises(RecipeError, match="unpacks to more than 100,000 bytes"):
        archives.unpack(str(tmp_path / "archive"), str(tmp_path))


def test_large_attributes_of_macos_are_passed_over(tmp_path):
    (tmp_path / "archive").write_bytes(archive_of(("._a", bytes(10**6)), ("a", b"1")))
    (tmp_path / "to").mkdir()
    archives.unpack(str(tmp_path / "archive"), str(tmp_path / "to"))
    assert left_in(str(tmp_path / "to")) == ["a"]


def test_unpacked_files_have_no_rights_of_the_archive(tmp_path):
    info = tarfile.TarInfo("folder/a")
    info.mode = 0o6777
    (tmp_path / "archive").write_bytes(archive_of((info, b"1"), ("folder/._a", b"attributes"), ("./folder/b", b"2")))
    (tmp_path / "to").mkdir()
    archives.unpack(str(tmp_path / "archive"), str(tmp_path / "to"))
    assert left_in(str(tmp_path / "to")) == ["folder/a", "folder/b"]
    assert not (tmp_path / "to" / "folder" / "a").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)
