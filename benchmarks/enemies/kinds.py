"""The kinds of mutants: each makes one in a folder, and gives the command that reads it."""

from __future__ import annotations

import atexit
import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from backproof.experiment import train
from backproof.runs import save_run
from backproof.text import parse_corpus
from backproof.training.checkpoint import About, Checkpoints, owned
from backproof.training.loop import Keep
from backproof.training.settings import Settings
from enemies.bytes import change_bytes, change_json, change_kind

WORDS = "anna bela otto mia noa ella uma ida leo max eva kim tom zoe ben lara nils pia rosa till"
SMALL = Settings(steps=12, batch_size=3, hidden=5, embedding=2, block_size=2, engine="eager")
OPTIONS = ["--batch-size", "3", "--hidden", "5", "--embedding", "2", "--block-size", "2", "--engine", "eager"]
EXAMPLES = Path(__file__).parents[2] / "examples"
_HOSTILE = (
    "-1", "0", "1", "2", "nan", "inf", "-inf", "1e999", "abc", "", " ", "1,2", "1,,2", "٣", "\x1b[31m", "9" * 25, "1.5",
    "..", "\udc80", "a\nb", "--", "-", "=", "auto", "none", "eager", "/", "/dev/null", "x" * 300, "*", "~", "None",
    "0x10", "1_0",
)  # fmt: skip
_PUT_IN = (
    "None", "1 / 0", "[]", "lambda: 0", "float('nan')", "...", "torch", "x.sum()", "''", "(1,)", "exit()", "raise_",
    "torch.empty(0)", "torch.tensor(1)", "torch.zeros(2, 3)", "-x", "b'\\xff'", "locals()", "yield_", "int", "1e400",
)  # fmt: skip


@cache
def base() -> Path:
    """A run that is over, one that is not, and their words."""
    place = Path(mkdtemp(prefix="enemies-"))
    atexit.register(shutil.rmtree, place)
    words = place / "words.txt"
    words.write_text(WORDS.replace(" ", "\n"), encoding="utf-8")
    corpus = parse_corpus(words.read_bytes(), str(words))
    result = train(corpus, SMALL)
    save_run(result, place / "run")
    with owned(place / "begun"):
        about = About(SMALL, "eager", 1 + len(set("".join(corpus.words))), str(words), corpus.sha256)
        saved = Checkpoints(place / "begun", about)
        train(corpus, SMALL, keep=Keep(saved.save, 0.0), until=6)
    return place


def a_run(place: Path, draw: random.Random) -> list[str]:
    """A run folder, asked for words or for its losses; half the time its checksum is made right again."""
    folder = Path(shutil.copytree(base() / "run", place / "run"))
    path = folder / draw.choice(("run.json", "run.json", "model.safetensors"))
    if draw.random() < 0.1:
        change_kind(path, draw)
    elif path.suffix == ".json" and draw.random() < 0.7:
        path.write_bytes(change_json(path.read_bytes(), draw))
    else:
        path.write_bytes(change_bytes(path.read_bytes(), draw))
        if path.suffix != ".json" and draw.random() < 0.7:
            said = json.loads((folder / "run.json").read_bytes())
            said["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            (folder / "run.json").write_text(json.dumps(said), encoding="utf-8")
    if draw.random() < 0.5:
        return ["sample", str(folder), "--count", "2"]
    return ["evaluate", str(folder), "--data", str(base() / "words.txt")]


def a_state(place: Path, draw: random.Random) -> list[str]:
    """The state of a run that is not over, which is to go on."""
    folder = Path(shutil.copytree(base() / "begun", place / "begun"))
    path = draw.choice(sorted((folder / "checkpoint").iterdir()))
    if draw.random() < 0.1:
        change_kind(path, draw)
    elif path.suffix == ".json" and draw.random() < 0.7:
        path.write_bytes(change_json(path.read_bytes(), draw))
    else:
        path.write_bytes(change_bytes(path.read_bytes(), draw))
    return ["train", "--data", str(base() / "words.txt"), "--resume", str(folder), "--steps", "12"]


def words(place: Path, draw: random.Random) -> list[str]:
    """A file of words, to train on."""
    path = place / "words.txt"
    content = (base() / "words.txt").read_bytes()
    if draw.random() < 0.3:
        encoding = draw.choice(("utf-8", "utf-16", "cp1251", "utf-8-sig"))
        content = (3 * "мир\nдом\nнебо\nлуна\n空\n海山\nžába\nn\u0303a\n").encode(encoding, "ignore")
    path.write_bytes(content)
    if draw.random() < 0.1:
        change_kind(path, draw)
    else:
        path.write_bytes(change_bytes(content, draw))
    return ["train", "--data", str(path), "--steps", "3", *OPTIONS, "--out", str(place / "out")]


def options(place: Path, draw: random.Random) -> list[str]:
    """A command with values that it does not expect."""
    run, file = str(base() / "run"), str(base() / "words.txt")
    usual = draw.choice(
        (
            ["train", "--data", file, "--steps", "3", *OPTIONS, "--out", str(place / "out")],
            ["sample", run, "--count", "1", "--start", "a", "--temperature", "1", "--seed", "1"],
            ["evaluate", run, "--data", file],
            ["prove", "--data", file, "--hidden", "5", "--batch-size", "3", "--seed", "1", "--grain", "both"],
            ["sweep", "--data", file, "--runs", "1", "--workers", "0", "--lr", "0.1", "--out", str(place / "out")],
            ["explain", "F6"],
        )
    )
    given = list(usual)
    for _ in range(draw.choice((1, 1, 2))):
        at = draw.randrange(1, len(given))
        match draw.randrange(4):
            case 0:
                given[at:at] = [draw.choice(_HOSTILE)]
            case 1 if len(given) > 2:
                del given[at]
            case _:
                given[at] = draw.choice(_HOSTILE)
    for k, word in enumerate(given):  # nothing is written outside the mutant's own folder
        if given[k - 1] == "--out" and not word.startswith("-"):
            given[k] = str(place / "out" / word.strip("/.~")) if "\0" not in word else word
    return [word for word in given if "\0" not in word]


def a_proof(place: Path, draw: random.Random) -> list[str]:
    """An example network whose file was changed: a line doubled, lost or moved, a word put in place of another."""
    source = draw.choice(sorted(EXAMPLES.glob("*.py"))).read_text(encoding="utf-8")
    lines = source.splitlines()
    for _ in range(draw.choice((1, 1, 2))):
        at = draw.randrange(len(lines))
        match draw.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[draw.randrange(len(lines))])
            case 2:
                lines[at] = change_bytes(lines[at].encode(), draw).decode("utf-8", "replace")
            case _:
                spots = list(re.finditer(r"\b\w+\b", lines[at]))
                if spots:
                    spot = draw.choice(spots)
                    lines[at] = lines[at][: spot.start()] + draw.choice(_PUT_IN) + lines[at][spot.end() :]
    path = place / "proof.py"
    with suppress(UnicodeEncodeError):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["prove", str(path)]


KINDS: dict[str, Callable[[Path, random.Random], list[str]]] = {
    "runs": a_run,
    "states": a_state,
    "words": words,
    "options": options,
    "proofs": a_proof,
}
