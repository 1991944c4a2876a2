"""What cannot fit into the memory is refused before the first step, with what would fit."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from backproof import experiment
from backproof.models.memory import NotEnoughMemoryError
from backproof.text import Corpus
from backproof.training import room
from backproof.training.settings import Settings


def refusal(settings: Settings, symbols: int, free: int, monkeypatch) -> str:
    monkeypatch.setattr(room, "free_memory", lambda: float(free))
    with pytest.raises(NotEnoughMemoryError) as raised:
        room.refuse_what_cannot_fit(settings, symbols)
    return str(raised.value)


def test_what_just_fits_is_not_refused(monkeypatch):
    needed = room.least_memory(Settings(), 27)
    monkeypatch.setattr(room, "free_memory", lambda: float(needed))
    room.refuse_what_cannot_fit(Settings(), 27)
    refusal(Settings(), 27, needed - 1, monkeypatch)


@pytest.mark.parametrize("sizes", [{"hidden": 2**20}, {"batch_size": 2**20}, {"embedding": 65_535, "block_size": 1024}])
def test_what_it_says_would_fit_does_and_one_step_more_does_not(sizes: dict[str, int], monkeypatch):
    settings, free = replace(Settings(), **sizes), 10**8
    said = refusal(settings, 27, free, monkeypatch)
    assert " are free; choose --" in said
    offers = re.findall(r"--([a-z-]+) up to ([0-9,]+)", said)
    assert offers
    for name, number in offers:
        field, most = name.replace("-", "_"), int(number.replace(",", ""))
        room.refuse_what_cannot_fit(replace(settings, **{field: most}), 27)
        with pytest.raises(NotEnoughMemoryError):
            room.refuse_what_cannot_fit(replace(settings, **{field: round(most * 1.1) + 2}), 27)


def test_where_no_single_size_would_do_all_are_named(monkeypatch):
    said = refusal(Settings(hidden=2**20, batch_size=2**20), 27, 10**6, monkeypatch)
    assert said.endswith("choose smaller --batch-size, --hidden, --embedding, --block-size.")


def test_a_run_is_refused_before_anything_is_drawn(small_corpus: Corpus, small_settings: Settings, monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 1000.0)
    monkeypatch.setattr(experiment.mlp, "initial_parameters", None)
    with pytest.raises(NotEnoughMemoryError, match=r"0\.0 GB are free"):
        experiment.train(small_corpus, small_settings)
