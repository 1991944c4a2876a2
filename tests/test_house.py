"""The law of the house and the directions of imports; each check is shown to be able to fail."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "backproof"
LAW = re.compile(r"autograd|requires_grad|\.backward\(")

# Who may know whom: a package may import itself and what stands behind its name.
MAY_IMPORT = {
    "text": set(),
    "shapes": set(),
    "files": set(),
    "rules": {"shapes"},
    "models": {"shapes", "rules"},
    "engines": {"shapes", "rules", "models"},
    "training": {"shapes", "rules", "models", "engines"},
    "proof": {"shapes", "files", "rules", "models"},
    "testing": {"proof"},
    "plots": set(),
    "experiment": {"shapes", "text", "rules", "models", "engines", "training", "proof"},
    "runs": {"text", "rules", "models", "proof", "training", "plots", "experiment"},
    "sweep": {"files", "text", "models", "engines", "training", "experiment", "runs"},
    "cli": {"text", "models", "engines", "training", "proof", "experiment", "runs", "sweep"},
    "__main__": {"cli"},
}
HEAVY = {"torch", "numpy", "matplotlib", "safetensors", "pooch", "requests"}


def unlawful(source: Path) -> list[str]:
    """Files outside proof/ that mention automatic differentiation."""
    files = [file for file in source.rglob("*.py") if source / "proof" not in file.parents]
    return [str(file.relative_to(source)) for file in files if LAW.search(file.read_text())]


def part_of(file: Path, source: Path) -> str:
    return file.relative_to(source).parts[0].removesuffix(".py")


def wrong_imports(source: Path) -> list[str]:
    """Imports of our own that go against `MAY_IMPORT`, as 'file: part'; the top module only names homes."""
    wrong = []
    for file in source.rglob("*.py"):
        part = part_of(file, source)
        if part == "__init__":
            continue
        allowed = MAY_IMPORT[part] | {part}
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("backproof"):
                targets = [node.module] if "." in node.module else [f"backproof.{a.name}" for a in node.names]
            elif isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names if alias.name.startswith("backproof.")]
            else:
                continue
            wrong += [f"{file.relative_to(source)}: {t}" for t in targets if t.split(".")[1] not in allowed]
    return wrong


def test_only_proof_mentions_automatic_differentiation():
    assert unlawful(SOURCE) == []


@pytest.mark.parametrize("line", ["x.requires_grad_()", "loss.backward()", "import torch.autograd"])
def test_the_law_is_enforced(tmp_path: Path, line: str):
    for folder in ("proof", "rules"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "page.py").write_text(f"def f(x, loss):\n    {line}\n")
    assert unlawful(tmp_path) == ["rules/page.py"]


def test_imports_go_one_way():
    assert wrong_imports(SOURCE) == []


@pytest.mark.parametrize(
    "line", ["from backproof.cli import main", "import backproof.cli", "from backproof import cli"]
)
def test_wrong_imports_are_found(tmp_path: Path, line: str):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "page.py").write_text(f"from backproof.shapes import NF\n{line}\n")
    assert len(wrong_imports(tmp_path)) == 1


def test_every_part_of_the_package_has_its_directions():
    parts = {part_of(file, SOURCE) for file in SOURCE.rglob("*.py")} - {"__init__"}
    assert parts == set(MAY_IMPORT)


def test_heavy_libraries_are_not_imported_with_the_command_line():
    for file in (SOURCE / "cli").glob("*.py"):
        top = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in top if isinstance(n, ast.ImportFrom)}
        assert not {name.split(".")[0] for name in names} & HEAVY, file
