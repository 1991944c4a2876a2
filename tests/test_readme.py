"""What the README shows is run, and the tree that it draws is the real one."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from checkout import ROOT, tracked
from figures import differences

from backproof.cli import main
from backproof.text import download

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for kind, text in fences if kind == language]


def test_the_wrong_line_gets_the_report_that_is_shown(capsys):
    example, _ = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    assert differences(capsys.readouterr().out, blocks("text")[0]) == []


def test_the_wrong_file_gets_the_report_that_is_shown(tmp_path: Path, capsys):
    source = (ROOT / "examples" / "rmsnorm.py").read_text(encoding="utf-8")
    assert source.count(" / features") == 1
    wrong = tmp_path / "rmsnorm.py"
    wrong.write_text(source.replace(" / features", " / 10"), encoding="utf-8")
    assert main(["prove", str(wrong)]) == 1
    assert differences(capsys.readouterr().out, blocks("text")[1]) == []


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    _, example = blocks("python")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.count("'ma") == 5
    assert (tmp_path / "runs" / "from-python" / "run.json").is_file()


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    commands = "".join(blocks("sh"))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "backproof"
        assert main(arguments) == 0, line


def test_the_two_commands_are_targets_of_make():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", blocks("")[0], re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_tree_is_the_real_one():
    tree = next(block for block in blocks("") if block.startswith("src/backproof/"))
    drawn = {line.split()[0].rstrip("/") for line in tree.splitlines()[1:]}
    inside = {line.split()[0].rstrip("/") for line in tree.splitlines() if line.startswith("  ")}
    package = ROOT / "src" / "backproof"
    real = {file.relative_to(package).parts[0] for file in tracked(package)}
    assert inside == {name for name in real if not name.startswith("__")}
    assert all((ROOT / name).is_dir() for name in drawn - inside)


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_public_names_are_documented_and_there():
    import backproof

    for name in backproof.__all__:
        assert getattr(backproof, name).__doc__, name
    assert dir(backproof) == backproof.__all__ == sorted(backproof.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        backproof.nothing  # noqa: B018


def test_published_address_and_checksum():
    assert download.NAMES_URL.endswith("karpathy/makemore/master/names.txt")
    assert download.NAMES_SHA256.startswith("0a30b5557f192f32")
