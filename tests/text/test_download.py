"""Downloads, from a server of the test's own."""

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backproof.text import CorpusError, download, fetch_names, read_corpus


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is for the test."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "right.txt").write_bytes(b"anna\nbob\n")
    (folder / "page.txt").write_bytes(b"<!DOCTYPE html><html></html>")
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # the server of the test is on no other machine
    monkeypatch.setattr(download, "NAMES_SHA256", hashlib.sha256(b"anna\nbob\n").hexdigest())
    return tmp_path / "cache"


def test_a_fetched_corpus_is_there_for_good(server: str, cache: Path):
    with pytest.raises(CorpusError, match="has not been fetched yet; run 'backproof fetch names' once"):
        read_corpus("makemore")
    assert fetch_names(f"{server}/right.txt") == cache / "names.txt"
    assert read_corpus("makemore").words == ("anna", "bob")
    assert fetch_names("http://127.0.0.1:9/nobody-is-asked-again") == cache / "names.txt"


def test_a_wrong_checksum_is_refused_and_not_kept(server: str, cache: Path):
    with pytest.raises(CorpusError, match=r"is not the published corpus \(its SHA-256 differs\) and was not kept"):
        fetch_names(f"{server}/page.txt")
    assert not list(cache.glob("*"))


@pytest.mark.parametrize("path", ["/absent.txt", None])
def test_no_answer_is_one_sentence(server: str, cache: Path, path: str | None):
    url = server + path if path else "http://127.0.0.1:9/nobody-listens.txt"
    with pytest.raises(CorpusError, match=r"could not be downloaded .* connect to the internet and try again, or save"):
        fetch_names(url)


def test_an_altered_copy_is_refused(server: str, cache: Path):
    fetch_names(f"{server}/right.txt").write_text("anna\neve\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="was altered since it was fetched; delete it and run"):
        read_corpus("makemore")


@pytest.mark.parametrize("cause", ["a file", "nothing that can be written"])
def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str):
    (tmp_path / "file").write_bytes(b"")
    folder = tmp_path / "file" if cause == "a file" else tmp_path / "file" / "cache"
    monkeypatch.setenv(download.CACHE_VARIABLE, str(folder))
    with pytest.raises(
        CorpusError, match=f"The folder {folder} of downloads cannot be made .*; set BACKPROOF_CACHE to"
    ):
        fetch_names()
