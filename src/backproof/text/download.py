"""The published corpus: fetched once into the user's cache, and never used with a wrong checksum."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from backproof.files import read_bytes
from backproof.text.errors import CorpusError

NAMES_URL = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
NAMES_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
CACHE_VARIABLE = "BACKPROOF_CACHE"
_FILE = "names.txt"
_MOST_BYTES = 2**24


def cache_folder() -> Path:
    """The folder of downloads: `BACKPROOF_CACHE` when set, else the operating system's cache folder."""
    import pooch  # here, not above: it takes a while to import, and few commands download

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("backproof"))


def fetch_names(url: str = NAMES_URL) -> Path:
    """Download the 32,033 published names unless they are there already; return the file's path.

    Raises CorpusError when the download fails or its SHA-256 is not the published one (nothing is kept then).
    """
    import pooch
    import requests

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(
            f"The folder {folder} of downloads cannot be made ({error.strerror}); set {CACHE_VARIABLE} to another one."
        ) from None
    pooch.get_logger().setLevel("WARNING")  # our own message says what matters
    try:
        path = pooch.retrieve(url, known_hash=f"sha256:{NAMES_SHA256}", fname=_FILE, path=folder)
    except ValueError:  # how pooch reports a checksum that differs
        raise CorpusError(
            f"What came from {url} is not the published corpus (its SHA-256 differs) and was not kept; try again later."
        ) from None
    except (requests.RequestException, OSError) as error:
        raise CorpusError(
            f"The names could not be downloaded ({type(error).__name__}); connect to the internet and try again, or "
            f"save {url} as {folder / _FILE} by hand."
        ) from None
    return Path(path)


def published_names() -> Path:
    """The fetched file, checked again; raises CorpusError when it is missing or was altered."""
    path = cache_folder() / _FILE
    if not path.is_file():
        raise CorpusError(
            "The corpus 'makemore' has not been fetched yet; run 'backproof fetch names' once, while online."
        )
    if hashlib.sha256(read_bytes(path, _MOST_BYTES)).hexdigest() != NAMES_SHA256:
        raise CorpusError(f"{path} was altered since it was fetched; delete it and run 'backproof fetch names' again.")
    return path
