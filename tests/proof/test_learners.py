"""The faults that learners really make, each reproduced on the published network: does the message teach?"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.prove import prove
from backproof.proof.report.report import Report

EXAMPLES = Path(__file__).parents[2] / "examples"


def published(network: str, right: str | None = None, wrong: str = "") -> ModuleType:
    """The example as it stands, or as a learner wrote it: with one line otherwise."""
    source = (EXAMPLES / f"{network}.py").read_text(encoding="utf-8")
    if right is not None:
        assert source.count(right) == 1
        source = source.replace(right, wrong)
    module = ModuleType(network)
    exec(compile(source, network, "exec"), module.__dict__)
    return module


def notebook(module: ModuleType) -> dict[str, Any]:
    """What locals() would hold after a forward and a backward pass: every value and every d<value>."""
    parameters = {k: v.requires_grad_(v.is_floating_point()) for k, v in module.inputs(hidden=64).items()}
    steps = module.forward(**parameters)
    gradients = module.backward(type(steps)(*(v.detach() for v in steps)), torch.ones(()))
    return {**steps._asdict(), **{f"d{name}": gradient for name, gradient in gradients.items()}}


def checked(module: ModuleType) -> Report:
    names = notebook(module)
    return check(names["loss"], names)


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_the_lectures_network_itself_is_proved() -> None:
    for network in ("ninja", "ninja_biased"):
        report = checked(published(network))
        assert report.ok and len(report.rows) == 26, str(report)
        assert not report.culprits


def test_tanh_of_the_value_before_batch_normalisation() -> None:
    """The published variant's first fault: gain and bias never reach the loss, and nothing complains."""
    report = checked(published("ninja_biased", "h = torch.tanh(hpreact)", "h = torch.tanh(hprebn)"))
    assert not report.ok
    culprit = report["hpreact"]
    assert culprit.culprit and culprit.verdict == "unreachable" and culprit.cause == "F4"
    message = one_line(culprit.message)
    assert "the output does not depend on hpreact" in message
    assert "see whether h = tanh(hprebn) should read hpreact in place of hprebn" in message
    for name in ("bngain", "bnbias", "bnraw"):
        row = report[name]
        assert row.verdict == "unreachable" and not row.culprit
        assert row.inherited_from == ("hpreact",)
        assert f"d{name}" in one_line(str(report)) and "unreachable" in row.message
    assert all(report[name].ok for name in ("h", "W2", "b2", "logits"))


def test_a_name_that_is_never_defined() -> None:
    """The second fault: the line cannot even run. The message gives the name and the line."""
    right = "dbndiff = s.bnvar_inv * dbnraw"
    module = published("ninja_biased", right, "dbndiff = bnvar_inverse * dbnraw")
    line = (EXAMPLES / "ninja_biased.py").read_text(encoding="utf-8").split(right)[0].count("\n") + 1
    with pytest.raises(ValueError, match=f"name 'bnvar_inverse' is not defined.*line {line}"):
        prove(module.forward, module.backward, module.inputs)


def test_gradients_of_names_that_do_not_exist() -> None:
    """The third fault: two gradients belong to no value. They are named, and so is what was meant."""
    names = notebook(published("ninja_biased"))
    names["dbnmean"] = names.pop("dbnmeani")
    names["dlogit_max"] = names.pop("dlogit_maxes")
    report = check(names["loss"], names)
    assert report.unjudged == ("dbnmean (is bnmeani meant?)", "dlogit_max (is logit_maxes meant?)")
    assert report.open == ("logit_maxes", "bnmeani")
    said = one_line(str(report))
    assert "computed but not judged: dbnmean (is bnmeani meant?), dlogit_max (is logit_maxes meant?)" in said
    assert "no gradient yet: logit_maxes, bnmeani" in said
    assert len(report.rows) == 24 and not report.culprits


@pytest.mark.parametrize("network", ["ninja", "ninja_biased"])
def test_the_published_wrong_line(network: str) -> None:
    """dbndiff = dbnvar_inv * dhpreact: a gradient where a value belongs, and the wrong upstream gradient."""
    report = checked(published(network, "dbndiff = s.bnvar_inv * dbnraw", "dbndiff = dbnvar_inv * dhpreact"))
    (culprit,) = report.culprits
    assert (culprit.name, culprit.cause) == ("bndiff", "F15")
    message = one_line(culprit.message)
    assert "dbnvar_inv" in message and "dhpreact" in message
    assert "use dbnraw * bnvar_inv" in message
    assert "largest difference" in message and "got" in message and "expected" in message
    assert report["hprebn"].inherited_from == ("bndiff",)


def test_a_gradient_that_lost_a_dimension() -> None:
    """(64,) for (1, 64): what broadcasts in a comparison is said to be equal there, and is not."""
    module = published("ninja", "dbnbias = dhpreact.sum(0, keepdim=True)", "dbnbias = dhpreact.sum(0)")
    names = notebook(module)
    (automatic,) = torch.autograd.grad(names["loss"], names["bnbias"], retain_graph=True)
    assert torch.allclose(names["dbnbias"], automatic), "the comparison of the notebooks sees nothing"
    (culprit,) = check(names["loss"], names).culprits
    assert (culprit.name, culprit.verdict, culprit.cause) == ("bnbias", "shape", "F9")
    message = one_line(culprit.message)
    assert "dbnbias has shape [64], and bnbias has [1, 64]" in message
    assert "a dimension of size 1 is lost" in message
    assert "keepdim=True" in message


@pytest.mark.parametrize(
    ("right", "wrong", "value", "kept", "lost"),
    [
        (
            "dcounts = s.counts_sum_inv * dprobs + dcounts_sum",
            "dcounts = s.counts_sum_inv * dprobs",
            "counts",
            "probs",
            "counts_sum",
        ),
        (
            "dbndiff = s.bnvar_inv * dbnraw + 2 * s.bndiff * dbndiff2",
            "dbndiff = s.bnvar_inv * dbnraw",
            "bndiff",
            "bnraw",
            "bndiff2",
        ),
        ("dhprebn = dbndiff + 1 / n * dbnmeani", "dhprebn = dbndiff", "hprebn", "bndiff", "bnmeani"),
    ],
)
def test_a_dropped_branch(right: str, wrong: str, value: str, kept: str, lost: str) -> None:
    report = checked(published("ninja", right, wrong))
    (culprit,) = report.culprits
    assert (culprit.name, culprit.cause) == (value, "F6")
    message = one_line(culprit.message)
    assert f"d{value} is wrong: the share that comes back through {lost} is missing" in message
    assert f"your gradient equals the share of {kept} alone" in message
    assert f"add what flows back from d{lost} through {lost} = " in message
    assert "these lines are right" in one_line(str(report))


@pytest.mark.parametrize(
    "wrong",
    [
        "dC = torch.zeros_like(s.C); dC[s.Xb] = demb",
        "dC = torch.zeros_like(s.C); dC[s.Xb] += demb",
    ],
)
def test_an_overwritten_embedding_row(wrong: str) -> None:
    right = "dC = torch.zeros_like(s.C).index_put((s.Xb,), demb, accumulate=True)"
    report = checked(published("ninja", right, wrong))
    (culprit,) = report.culprits
    assert (culprit.name, culprit.cause) == ("C", "F11")
    message = one_line(culprit.message)
    assert "overwrites" in message
    assert "index_add_" in message
    assert all(row.ok for row in report.rows if row.name != "C")


def test_what_a_learner_sees_fits_the_terminal_and_names_one_line() -> None:
    said = str(checked(published("ninja", "dbndiff = s.bnvar_inv * dbnraw +", "dbndiff =")))
    assert max(map(len, said.splitlines())) <= 80
    assert sum(line.startswith("! ") for line in said.splitlines()) == 1
    assert len(said.splitlines()) <= 60


def test_an_exact_gradient_and_one_within_rounding_are_told_apart() -> None:
    """hpreact differs by one rounding where the processor has fused multiply-add: learners ask why."""
    report = checked(published("ninja"))
    row = report["hpreact"]
    assert row.ok
    if not row.exact:
        assert row.max_difference is not None and 0 < row.max_difference < 1e-9
        assert "fused multiply-add" in one_line(row.message)


def test_nothing_is_left_behind_in_the_notebook() -> None:
    names = notebook(published("ninja", "dbnraw = s.bngain * dhpreact", "dbnraw = dhpreact"))
    before = {k: v.detach().clone() for k, v in names.items() if isinstance(v, Tensor)}
    first, second = (str(check(names["loss"], names)) for _ in range(2))
    assert first == second
    assert all(torch.equal(before[k], names[k]) for k in before)
    assert all(v.grad is None for v in names.values() if isinstance(v, Tensor) and v.is_leaf)
    names["loss"].backward()  # the graph can still be used
