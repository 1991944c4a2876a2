"""What every test may use: the published corpus where it is, and a small run to look at.

Shape annotations of the package are checked in every test (see `addopts` in pyproject.toml).
"""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch

from backproof.experiment import Result, train
from backproof.runs import save_run
from backproof.text import Corpus, parse_corpus, read_corpus
from backproof.training.settings import Settings

NAMES_VARIABLE = "BACKPROOF_NAMES"
WORDS = "anna bela otto mia noa ella uma ida leo max eva kim tom zoe ben lara nils pia rosa till"


def pytest_configure() -> None:
    """Captured output is no terminal, whatever colours the caller asks of programs; and Ctrl-C is a Ctrl-C."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        os.environ.pop(name, None)
    # A script's background command ignores interrupts, and so would every command that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Not a plugin: it is ten lines, every worker process makes the same order of it, and nothing else is changed."""
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="run the tests in a random order, the one of this seed"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (seed := config.getoption("shuffle")) is not None:
        random.Random(seed).shuffle(items)


@pytest.fixture(scope="session")
def published() -> Corpus:
    """The 32,033 published names; a failure where they were promised, a visible skip elsewhere."""
    path = os.environ.get(NAMES_VARIABLE)
    if not path:
        pytest.skip(f"set {NAMES_VARIABLE} to the published names.txt to run the golden tests")
    return read_corpus(path)


@pytest.fixture(scope="session")
def small_corpus() -> Corpus:
    return parse_corpus(WORDS.replace(" ", "\n").encode(), "small.txt")


@pytest.fixture(scope="session")
def small_settings() -> Settings:
    return Settings(steps=60, batch_size=5, hidden=13, embedding=3, block_size=2)


@pytest.fixture(scope="session")
def small_result(small_corpus: Corpus, small_settings: Settings) -> Result:
    return train(small_corpus, small_settings)


@pytest.fixture(scope="session")
def _saved_run(small_result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(small_result, tmp_path_factory.mktemp("saved") / "run")


@pytest.fixture
def run_folder(_saved_run: Path, tmp_path: Path) -> Path:
    """One of the test's own, to do with as it likes."""
    return Path(shutil.copytree(_saved_run, tmp_path / "run"))


@pytest.fixture(autouse=True)
def _one_thread():
    """Two test workers' worth of threads on tiny matrices only get into each other's way."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _numbers_of_its_own():
    """What a test draws is not what is left over by the tests before it: it is the same in every order, and alone."""
    torch.manual_seed(0)
