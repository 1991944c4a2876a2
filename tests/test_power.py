"""The benchmark of the prover's power: its mutants are faults, its judges can fail, a sample of it is passed."""

from __future__ import annotations

from collections import Counter
from inspect import signature
from random import Random
from types import ModuleType

import pytest
import torch
from checkout import tracked
from torch import Tensor

import check_time
import correct
import power
from backproof.proof.check import check
from backproof.proof.report.cause import Cause
from expressions import random_case
from judges import Opinion, by_backproof, run, theirs
from mutants import EXAMPLES, Mutant, as_module, example, mutants, networks, replaced
from same import SAME

ALL = list(mutants())
CAUSES = {cause.value for cause in Cause}


def test_the_collection_is_as_large_and_as_varied_as_it_says() -> None:
    assert len(ALL) >= 230
    assert sum(len(mutant.faults) == 2 for mutant in ALL) >= 22
    assert {cause for mutant in ALL for fault in mutant.faults for cause in fault.causes} == CAUSES
    of_network = Counter(mutant.network for mutant in ALL)
    assert set(of_network) == {path.stem for path in tracked(EXAMPLES, "*.py")}
    assert len(of_network) >= 8 and min(of_network.values()) >= 15
    assert len({mutant.title for mutant in ALL}) == len(ALL)


def test_every_cause_is_alone_in_more_than_one_network() -> None:
    for cause in CAUSES:
        found = {m.network for m in ALL if len(m.faults) == 1 and m.faults[0].causes == (cause,)}
        assert len(found) >= 2, cause


def test_two_names_for_one_fault_are_rare() -> None:
    faults = [fault for mutant in ALL if len(mutant.faults) == 1 for fault in mutant.faults]
    assert sum(len(fault.causes) > 1 for fault in faults) < 0.08 * len(faults)
    assert max(len(fault.causes) for fault in faults) == 2


@pytest.mark.parametrize("network", networks())
def test_every_right_line_stands_in_its_file_once_and_in_the_backward_part(network: str) -> None:
    source = (EXAMPLES / f"{network}.py").read_text(encoding="utf-8")
    begin = source.index("def backward(")
    for mutant in mutants(network):
        mutated = mutant.source()  # raises unless each right line is there exactly once
        assert mutated[:begin] == source[:begin]
        assert mutated != source


def test_a_line_that_is_not_there_once_is_refused() -> None:
    with pytest.raises(ValueError, match="must stand in the file once, and is there 0 times"):
        replaced("def f():\n    a = 1\n", "a = 2", "a = 3")
    with pytest.raises(ValueError, match="is there 2 times"):
        replaced("def f():\n    a = 1\n    a = 1\n", "a = 1", "a = 3")


@pytest.mark.parametrize("network", networks())
def test_no_mutant_is_right_in_disguise(network: str) -> None:
    """Each changes what some replay gives, far beyond float64's rounding; a single line, its own value's
    gradient.

    (Of two wrong lines the second may undo what the first does: two signs, say. Each stands alone among the
    others.)
    """
    for mutant in mutants(network):
        module = mutant.load()
        if mutant.needs_reruns:
            assert any(_changes(module, network, replay) for replay in _replays(network)), mutant.title
        else:
            changed = _changes(module, network, {})
            enough = set.issuperset if len(mutant.faults) == 1 else set.intersection
            assert any(enough(changed, names) for names in mutant.guilty), mutant.title


def _replays(network: str) -> list[dict[str, object]]:
    sizes: list[dict[str, object]] = [{}, *({"n": n} for n in ((2, 5) if network == "ninja" else (1, 2, 5)))]
    if "features" in signature(example(network).inputs).parameters:
        sizes.append({"features": 14})
    return [{**size, "layout": layout} for size in sizes for layout in ("plain", "transposed", "expanded")]


def _changes(module: ModuleType, network: str, replay: dict[str, object]) -> set[str]:
    """What the wrong module does otherwise than the right one: gradients by name, and damaged arguments."""
    right = example(network)
    size = {name: value for name, value in replay.items() if name != "layout"}
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in right.inputs(**size).items()}
    steps = right.forward(**inputs)
    noise = torch.Generator().manual_seed(1)
    upstream = torch.randn(steps[-1].shape, generator=noise, dtype=torch.float64)
    if replay.get("layout") == "transposed" and upstream.dim() > 1:
        upstream = upstream.mT.contiguous().mT
    if replay.get("layout") == "expanded" and upstream.dim():
        upstream = upstream.flatten()[0].clone().expand(upstream.shape)
    wanted = right.backward(steps, upstream)
    given = type(steps)(*(value.clone() for value in steps))
    handed = upstream.clone() if upstream.stride() == upstream.contiguous().stride() else upstream
    before = upstream.clone()
    try:
        got = module.backward(given, handed)
    except RuntimeError as error:
        return {str(error)}
    before_and_after = zip(steps._fields, steps, given, strict=True)
    damaged = {f"{name} in place" for name, old, new in before_and_after if not torch.equal(old, new)}
    if not torch.equal(handed, before):
        damaged.add("upstream in place")
    return damaged | {name for name, gradient in wanted.items() if not _same(got[name], gradient)}


def _same(got: Tensor | None, wanted: Tensor) -> bool:
    if got is None or got.shape != wanted.shape:
        return False
    return bool((got - wanted).abs().max() <= 1e-9 * wanted.abs().max().clamp(min=1e-6))


@pytest.mark.parametrize("network", networks())
def test_lines_rewritten_in_another_right_way_are_right(network: str) -> None:
    source = (EXAMPLES / f"{network}.py").read_text(encoding="utf-8")
    for line, others in SAME[network].items():
        for other in others:
            ours = run(as_module(network, replaced(source, line, other)), torch.float64)
            for name, gradient in theirs(ours).items():
                own = ours.gradients[name]
                assert own is not None and own.shape == gradient.shape, other
                assert (own - gradient).abs().max() <= 1e-12 * max(1, gradient.abs().max()), f"{other}: {name}"


def test_the_rules_of_random_expressions_are_right() -> None:
    for seed in range(150):
        case = random_case(Random(seed))
        if case.output.dtype != torch.float64:
            continue
        upstream = case.upstream
        theirs = torch.autograd.grad(case.output, list(case.values.values()), upstream, retain_graph=True)
        largest = max(gradient.abs().max().item() for gradient in theirs)
        for (name, own), gradient in zip(case.gradients.items(), theirs, strict=True):
            assert own.shape == gradient.shape, case.story
            assert (own - gradient).abs().max() <= 1e-9 * max(largest, 1e-300), f"{name} of {case.story}"


def test_right_code_is_not_accused() -> None:
    accused = [outcome.accusation for index in range(99) if (outcome := correct.judge_case(7, index)).accusation]
    assert not accused, "\n\n".join(accused[:3])


def test_a_random_expression_with_a_wrong_gradient_is_accused() -> None:
    """The other half of the claim: what clears right code does not clear everything."""
    tried, missed = 0, []
    for seed in range(40):
        case = random_case(Random(seed))
        _, *others = case.gradients  # the first is the output's own, which is given
        name = max(others, key=lambda k: case.gradients[k].abs().max().item())
        if case.output.dtype == torch.bfloat16 or not case.gradients[name].any():
            continue  # bfloat16 hides two per cent, and of zero they are zero
        wrong = {**case.gradients, name: 1.02 * case.gradients[name]}
        report = check(case.output, {**case.values, **{f"d{k}": g for k, g in wrong.items()}}, upstream=case.upstream)
        tried += 1
        if name not in {row.name for row in report.culprits}:
            missed.append(f"{name} of {case.story}\n{report}")
    assert tried >= 30
    assert not missed, missed[0]


def sample() -> list[Mutant]:
    """A few of each network, all causes among them; the large networks run once each, for time's sake."""
    random = Random(3)
    chosen: list[Mutant] = []
    for network in networks():
        quick = [m for m in ALL if m.network == network and not (m.needs_reruns and "ninja" in network)]
        chosen += random.sample(quick, 3)
    missing = CAUSES - {cause for m in chosen for fault in m.faults for cause in fault.causes}
    small = [m for m in ALL if "ninja" not in m.network]
    return chosen + [next(m for m in small if m.causes == cause) for cause in sorted(missing)]


@pytest.mark.parametrize("mutant", sample(), ids=lambda m: m.title)
@pytest.mark.filterwarnings("ignore")
def test_backproof_sees_the_fault_and_names_the_line(mutant: Mutant) -> None:
    got = power.judged(mutant, ["Backproof"]).scores["Backproof"]
    assert got.detected, got.opinion.words
    assert got.line, f"named {sorted(got.opinion.named)}\n{got.opinion.words}"
    assert not got.misnamed, got.opinion.words


@pytest.mark.parametrize("network", networks())
def test_backproof_accuses_no_right_network(network: str) -> None:
    for needs_reruns in (False, "ninja" not in network):  # the large ones have a test of their own
        opinion = by_backproof(example(network), needs_reruns)
        assert not opinion.fault and not opinion.named, opinion.words


def test_the_score_tells_detection_line_and_cause_apart() -> None:
    mutant = next(m for m in ALL if m.title == "layernorm: dx = ddiff.clone()")
    assert str(power.score(mutant, Opinion(False))) == "···"
    assert str(power.score(mutant, Opinion(True, frozenset({"diff"})))) == "D··"
    assert str(power.score(mutant, Opinion(True, frozenset({"x"}), {"x": None}))) == "DL·"
    assert str(power.score(mutant, Opinion(True, frozenset({"x"}), {"x": "F6"}))) == "DLC"
    assert str(power.score(mutant, Opinion(True, frozenset({"x"}), {"x": "F8"}))) == "DLx"
    assert str(power.score(mutant, Opinion(True, frozenset({"x", "diff"}), {"x": "F6"}))) == "D··"


def test_a_missed_goal_is_said() -> None:
    mutant = next(m for m in ALL if m.title == "layernorm: dx = ddiff.clone()")
    found = Opinion(True, frozenset({"x"}), {"x": "F6"})
    good = [power.Verdicts(mutant, {"Backproof": power.score(mutant, found)})]
    assert power.goals_missed(good, {"layernorm": []}) == []
    assert power.goals_missed(good, {"layernorm": ["Backproof"]}) == ["layernorm is right and was accused"]
    bad = [power.Verdicts(mutant, {"Backproof": power.score(mutant, Opinion(False))})]
    assert power.goals_missed(bad, {}) == [
        "1 mutants not detected",
        "1 mutants whose culprits are not exactly the wrong lines",
        "0 of 1 causes right, fewer than 95 %",
    ]
    named = [power.Verdicts(mutant, {"Backproof": power.score(mutant, found._replace(causes={"x": "F8"}))})]
    assert "1 mutants with a wrong cause named" in power.goals_missed(named, {})


def test_the_time_of_checks_is_taken_of_right_and_wrong_passes() -> None:
    right, wrong = check_time.layer(5, 7)
    figures = check_time.measure(right, wrong, repeats=1)
    assert (figures.values, figures.elements) == (4, 5 * 7 + 7 + 64 * 7 + 1)
    assert 0 < figures.with_fault <= figures.slowest
    right, wrong = check_time.chain(20)
    assert check_time.measure(right, wrong, repeats=1).values == 20


def test_a_time_is_not_taken_of_a_fault_that_is_not_seen() -> None:
    right, _ = check_time.layer(5, 7)
    with pytest.raises(AssertionError, match="a fault is not seen"):
        check_time.measure(right, [right], repeats=1)
