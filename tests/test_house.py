"""The law of the house and the directions of imports; each check is shown to be able to fail."""

import ast
import re
from pathlib import Path

import pytest
from checkout import ROOT, tracked

from backproof.proof.report.cause import Cause

SOURCE = ROOT / "src" / "backproof"
LAW = re.compile(r"autograd|requires_grad|(?P<whose>\w+)?\.backward\(")
# A rule and a page of a model have a `backward` that is written by hand; what else has one differentiates by itself.
BY_HAND = {file.stem for file in (SOURCE / "rules").glob("*.py")} | {"_page"}

# Who may know whom: a package may import itself and what stands behind its name.
MAY_IMPORT = {
    "text": {"files"},
    "shapes": set(),
    "files": set(),
    "limits": set(),
    "rules": {"shapes"},
    "models": {"shapes", "rules"},
    "optimisers": set(),
    "engines": {"shapes", "rules", "models", "optimisers", "limits"},
    "training": {"shapes", "files", "limits", "rules", "models", "optimisers", "engines"},
    "proof": {"shapes", "files", "rules", "models"},
    "testing": {"proof"},
    "plots": set(),
    "word_experiment": {"text", "models", "engines", "training", "proof", "experiment"},
    "experiment": {"shapes", "text", "rules", "models", "engines", "training", "proof"},
    "record": {"files", "text", "training"},
    "runs": {"text", "rules", "models", "proof", "training", "plots", "experiment", "word_experiment", "record"},
    "resumable": {"text", "engines", "training", "experiment", "word_experiment", "record", "runs"},
    "sweep": {
        "limits",
        "files",
        "text",
        "models",
        "engines",
        "training",
        "experiment",
        "word_experiment",
        "record",
        "runs",
        "resumable",
    },
    "cli": {
        "limits",
        "files",
        "text",
        "models",
        "engines",
        "training",
        "proof",
        "experiment",
        "word_experiment",
        "record",
        "runs",
        "resumable",
    }
    | {"sweep"},
    "__main__": {"cli"},
}
# The rooms of the prover, from the ground up: a room may import itself and those before it. What stands beside the
# rooms are the doors, one a call, which may import every room.
ROOMS = ("report", "graph", "user", "verdict", "causes", "judge", "replays")
# What is private in PyTorch: attributes, classes, the names of its nodes, and its words for errors.
PRIVATE = re.compile(
    r"_saved_|\._version\b|_input_metadata|torch\._C\b|DisableTorchFunctionSubclass|BackwardCFunction|Backward\d|\.name\(\)"
    r"|inplace operation|through the graph a second time|already been freed|use_reentrant=True"
)
HEAVY = {"torch", "numpy", "matplotlib", "safetensors", "pooch", "requests"}


def unlawful(source: Path) -> list[str]:
    """Files outside proof/ that mention automatic differentiation."""
    files = [file for file in tracked(source, "*.py") if source / "proof" not in file.parents]
    found = {file: [match["whose"] for match in LAW.finditer(file.read_text(encoding="utf-8"))] for file in files}
    return [str(file.relative_to(source)) for file, whose in found.items() if not BY_HAND.issuperset(whose)]


def privy(source: Path) -> list[str]:
    """Files, but the one whose task it is, that reach for what is private in PyTorch, and for what."""
    files = [file for file in tracked(source, "*.py") if file != source / "proof" / "graph" / "node.py"]
    found = ((file, PRIVATE.search(file.read_text(encoding="utf-8"))) for file in files)
    return [f"{file.relative_to(source)}: {match.group()}" for file, match in found if match]


def part_of(file: Path, source: Path) -> str:
    return file.relative_to(source).parts[0].removesuffix(".py")


def wrong_imports(source: Path) -> list[str]:
    """Imports of our own that go against `MAY_IMPORT`, as 'file: part'; the top module only names homes."""
    wrong = []
    for file in tracked(source, "*.py"):
        part = part_of(file, source)
        if part == "__init__":
            continue
        allowed = MAY_IMPORT[part] | {part}
        parts = {target.split(".")[1] for target in imported_by(file)}
        wrong += [f"{file.relative_to(source)}: {other}" for other in sorted(parts - allowed)]
    return wrong


def imported_by(file: Path) -> list[str]:
    """The modules of ours that a file imports anywhere in it, by their full names."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "backproof":
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("backproof.")]
    return [name for name in found if "." in name]


def room_of(module: str) -> str:
    """The room of the prover that a module belongs to; "doors" for what stands beside the rooms."""
    place = module.split(".")[2]
    return place if place in ROOMS else "doors"


def modules_of(source: Path) -> dict[str, Path]:
    """All modules of the prover by name, without the rooms' own `__init__`."""
    files = [file for file in tracked(source / "proof", "*.py") if file.name != "__init__.py"]
    return {".".join(("backproof", *file.relative_to(source).with_suffix("").parts)): file for file in files}


def upward_imports(source: Path) -> list[str]:
    """Imports within the prover from a room above, as 'module: module'."""
    level = {room: number for number, room in enumerate((*ROOMS, "doors"))}
    return [
        f"{name}: {target}"
        for name, file in modules_of(source).items()
        for target in imported_by(file)
        if target.startswith("backproof.proof.") and level[room_of(target)] > level[room_of(name)]
    ]


def circles(source: Path) -> list[str]:
    """Modules of the prover that are imported by what they import, also where they import it late."""
    modules = modules_of(source)
    graph = {name: {target for target in imported_by(file) if target in modules} for name, file in modules.items()}
    while leaves := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in leaves:
            del graph[name]
    return sorted(graph)


def bare_codes(source: Path) -> list[str]:
    """Codes of causes that stand as text where a name belongs, as 'file: code'; `cause.py` gives them their names."""
    home = source / "proof" / "report" / "cause.py"
    return [
        f"{file.relative_to(source)}: {node.value}"
        for file in tracked(source, "*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if file != home and isinstance(node, ast.Constant) and re.fullmatch(r"F\d+", str(node.value))
    ]


def causes_named(source: Path) -> set[str]:
    """The causes that the searches, the judge and the replays can name; one that is only compared with is not named."""
    found = set()
    for name, file in modules_of(source).items():
        if room_of(name) not in ("causes", "judge", "replays"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        compared = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Compare) for part in ast.walk(node)}
        found |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Cause"
            if id(node) not in compared
        }
    return found


def test_only_proof_mentions_automatic_differentiation():
    assert unlawful(SOURCE) == []


@pytest.mark.parametrize(
    "line", ["x.requires_grad_()", "loss.backward()", "rnn_loss.backward()", "import torch.autograd"]
)
def test_the_law_is_enforced(tmp_path: Path, line: str):
    for folder in ("proof", "rules"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "page.py").write_text(f"def f(x, loss):\n    {line}\n", encoding="utf-8")
    assert unlawful(tmp_path) == ["rules/page.py"]


def test_one_file_knows_what_is_private_in_pytorch():
    assert privy(SOURCE) == []


@pytest.mark.parametrize(
    "line",
    [
        "node._saved_self",
        "x._version > 0",
        "at[0]._input_metadata[0]",
        "with torch._C.DisableTorchFunctionSubclass():",
        'node.name().split("B")',
        'kind == "TanhBackward0"',
        '"modified by an inplace operation" in str(error)',
        '"backward through the graph a second time" in text',
        '"use_reentrant=True" in text',
    ],
)
def test_reaching_for_what_is_private_is_found(tmp_path: Path, line: str):
    for folder in ("graph", "causes"):
        (tmp_path / "proof" / folder).mkdir(parents=True)
        (tmp_path / "proof" / folder / "node.py").write_text(f"def f(x):\n    {line}\n")
    (tmp_path / "proof" / "causes" / "conversion.py").write_text("__version__ = conversion_of(x)\n")
    assert [found.split(": ")[0] for found in privy(tmp_path)] == ["proof/causes/node.py"]


def test_imports_go_one_way():
    assert wrong_imports(SOURCE) == []


@pytest.mark.parametrize(
    "line", ["from backproof.cli import main", "import backproof.cli", "from backproof import cli"]
)
def test_wrong_imports_are_found(tmp_path: Path, line: str):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "page.py").write_text(f"from backproof.shapes import NF\n{line}\n", encoding="utf-8")
    assert len(wrong_imports(tmp_path)) == 1


def verdicts_made(source: Path) -> list[str]:
    """Places in the prover, but for `verdict/decide.py` and its words, that name a verdict without asking for one."""
    found = []
    for name, file in modules_of(source).items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        asked = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Compare) for inner in ast.walk(node)}
        asked |= {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
        made = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Verdict" and id(node) not in asked
        ]
        if name not in ("backproof.proof.verdict.decide", "backproof.proof.report.rows"):
            found += [f"{name}:{line}" for line in made]
    return found


def test_a_verdict_is_made_in_one_file():
    assert verdicts_made(SOURCE) == []


@pytest.mark.parametrize("line", ["return Row(name, Verdict.WRONG)", "row = replace(row, verdict=Verdict.EXACT)"])
def test_a_verdict_made_elsewhere_is_found(tmp_path: Path, line: str):
    asking = "return row.verdict is Verdict.WRONG or row.verdict in (Verdict.EXACT, Verdict.ROUNDING)"
    house = house_of_proof(tmp_path, verdict_decide=line, replays_ledger=line, judge_judge=asking)
    assert verdicts_made(house) == ["backproof.proof.replays.ledger:2"]


def test_imports_run_down_the_rooms_of_the_prover_and_in_no_circle():
    assert upward_imports(SOURCE) == []
    assert circles(SOURCE) == []
    assert {room_of(name) for name in modules_of(SOURCE)} == {*ROOMS, "doors"}


def house_of_proof(folder: Path, **lines: str) -> Path:
    """A prover with the given line in one file a room; `_` stands for the dot, and a door has no room."""
    for place, line in lines.items():
        file = folder / "proof" / Path(*place.split("_")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"def f():\n    {line}\n")
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "from backproof.proof.causes.case import Case",
        "from backproof.proof import causes",
        "import backproof.proof.check",
    ],
)
def test_an_import_from_a_room_above_is_found(tmp_path: Path, line: str):
    down = "from backproof.proof.report.rows import Row"
    house = house_of_proof(tmp_path, verdict_blame=line, causes_case=down, check=down, report_rows="pass")
    assert [found.split(":")[0] for found in upward_imports(house)][:1] == ["backproof.proof.verdict.blame"]


def test_a_circle_within_a_room_is_found(tmp_path: Path):
    lines = {
        "report_page": "from backproof.proof.report.report import Report",
        "report_report": "from backproof.proof.report import page",
        "report_rows": "import backproof.proof.report.words",
        "report_words": "pass",
    }
    assert circles(house_of_proof(tmp_path, **lines)) == [
        "backproof.proof.report.page",
        "backproof.proof.report.report",
    ]


def test_every_cause_has_a_search_that_names_it_and_no_other_is_named():
    assert causes_named(SOURCE) == {cause.name for cause in Cause}


def test_a_cause_that_is_only_compared_with_is_not_named(tmp_path: Path):
    house = house_of_proof(
        tmp_path,
        causes_one="return Finding(Cause.WRONG_SIGN if c < 0 else Cause.DROPPED_TERM)",
        judge_two="return row.cause is Cause.OVERWRITTEN",
        report_cause="return Cause.NOT_FINITE",
    )
    assert causes_named(house) == {"WRONG_SIGN", "DROPPED_TERM"}


def test_causes_are_called_by_their_names():
    assert bare_codes(SOURCE) == []


def test_a_bare_code_is_found(tmp_path: Path):
    line = "return Finding('F6', 'F for false', 'backproof explain F6')"
    house = house_of_proof(tmp_path, causes_one=line, report_cause="CODE = 'F6'")
    assert bare_codes(house) == ["proof/causes/one.py: F6"]


def test_every_part_of_the_package_has_its_directions():
    parts = {part_of(file, SOURCE) for file in tracked(SOURCE, "*.py")} - {"__init__"}
    assert parts == set(MAY_IMPORT)


def test_heavy_libraries_are_not_imported_with_the_command_line():
    for file in tracked(SOURCE / "cli", "*.py"):
        top = [
            node
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in top if isinstance(n, ast.ImportFrom)}
        assert not {name.split(".")[0] for name in names} & HEAVY, file
