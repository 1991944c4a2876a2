"""Every model of whole words: proved step by step and fused, and the page keeps to the protocol."""

from __future__ import annotations

import pkgutil
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from backproof import models
from backproof.models import chain
from backproof.models.protocol import Model, OptionsError, data_of, masks_of
from backproof.models.registry import NAMES, page
from backproof.proof.network import prove_page

SYMBOLS = 11
SMALL: dict[str, dict[str, Any]] = {
    "bigram": {},
    "bag-of-words": {"width": 5, "hidden": 7},
    "cnn": {"width": 5, "layers": 2, "kernel": 3},
    "rnn": {"width": 3, "hidden": 5},
    "gru": {"width": 3, "hidden": 5},
    "lstm": {"width": 3, "hidden": 5},
    "transformer": {"width": 9, "heads": 3, "layers": 1},
}
NOT_PAGES = {"mlp", "chain", "drawing", "memory", "protocol", "recurrent", "registry"}
each_model = pytest.mark.parametrize("name", NAMES)


def network(name: str, dtype: torch.dtype = torch.float32, **more: Any) -> tuple[Model, Any, dict[str, Tensor], dict]:
    """The page, small options, parameters none of which is zero, and a batch with ignored cells."""
    model, g = page(name), Generator().manual_seed(3)
    options = model.Options(block_size=6, **SMALL[name], **more)
    initial = model.initial(options, SYMBOLS, g)
    p = {key: tensor + 0.1 * torch.randn(tensor.shape, generator=g) for key, tensor in initial.items()}
    x = torch.randint(0, SYMBOLS, (4, 5), generator=g)
    data = data_of(x, torch.randint(-1, SYMBOLS, (4, 5), generator=g)) | masks_of(model, options, x, g)
    return model, options, {key: tensor.to(dtype) for key, tensor in p.items()}, data


def test_every_page_is_in_the_registry():
    pages = {module.name for module in pkgutil.iter_modules(models.__path__)} - NOT_PAGES
    assert pages == {name.replace("-", "_") for name in NAMES}
    with pytest.raises(KeyError):
        page("registry")


@each_model
def test_a_page_keeps_to_the_protocol(name: str):
    model, options, p, data = network(name)
    assert isinstance(model, Model)
    assert (model.__doc__ or "").count("Source:") == 1
    assert options.block_size == 6
    assert set(chain.parameters_of(model.links(options))) == set(p)
    assert set(model.backward(p, model.forward(p, data, options)[1], data, options)) == set(p)


@each_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("grain", ["steps", "fused"])
def test_every_gradient_is_proved(name: str, dtype: torch.dtype, grain: Any):
    model, options, p, data = network(name, dtype)
    report = prove_page(model, options, p, data, grain=grain)
    assert report.ok, str(report)
    wanted = [value for each in model.links(options) for value in each.makes][::-1] if grain == "steps" else []
    order = list(dict.fromkeys(row.name.partition("[")[0] for row in report.rows))
    assert order == [*wanted, *p]


@pytest.mark.parametrize("grain", ["steps", "fused"])
def test_dropout_is_proved_with_its_masks_replayed(grain: Any):
    model, options, p, data = network("transformer", dropout=0.3)
    assert {name for name in data if name.endswith("kept")} == {"kept", "layer0_attn_kept", "layer0_ff_kept"}
    assert prove_page(model, options, p, data, grain=grain).ok


@each_model
def test_a_fault_in_a_rule_is_found_where_the_rule_is_used(name: str, monkeypatch):
    model, options, p, data = network(name)
    last = model.links(options)[-1].rule
    right = last.backward_steps

    def wrong(s, y, dloss):
        return right(s, y, dloss)._replace(norm_logits=2 * right(s, y, dloss).norm_logits)

    monkeypatch.setattr(last, "backward_steps", wrong)
    report = prove_page(model, options, p, data, grain="steps")
    assert [row.name for row in report.rows if row.culprit] == ["loss_norm_logits"]


@each_model
def test_the_fused_loss_is_that_of_the_steps_and_of_the_prediction(name: str):
    model, options, p, data = network(name, torch.float64)
    loss, _ = model.forward(p, data, options)
    steps = chain.forward_steps(model.links(options), p, data)
    torch.testing.assert_close(loss, steps["loss"])
    torch.testing.assert_close(model.predict(p, data["Xb"], options), steps["logits"])


@each_model
def test_nothing_looks_ahead_and_shorter_batches_say_the_same(name: str):
    model, options, p, data = network(name, torch.float64)
    whole = model.predict(p, data["Xb"], options)
    torch.testing.assert_close(model.predict(p, data["Xb"][:, :2], options), whole[:, :2])


@each_model
def test_sizes_that_make_no_network(name: str):
    model = page(name)
    for each in fields(model.Options):
        flag = "--" + each.name.replace("_", "-")
        wrong = -1 if isinstance(each.default, int) else -1.0
        with pytest.raises(OptionsError, match=rf"^{flag} is {wrong}; it has to be a (whole )?number from"):
            model.Options(**{each.name: wrong})
    with pytest.raises(OptionsError, match="--block-size is 65536"):
        model.Options(block_size=65_536)
    assert model.Options(block_size=65_535).block_size == 65_535


def test_a_width_that_the_heads_do_not_divide():
    with pytest.raises(OptionsError, match="--width is 30; it has to be a multiple of --heads, which is 4"):
        page("transformer").Options(width=30)


def test_a_new_model_touches_three_files():
    """The page, its entry in the registry, and small sizes here: nothing else knows a model by its name."""
    import subprocess
    from pathlib import Path

    root = Path(__file__).parents[2]
    tracked = subprocess.run(["git", "ls-files", "src", "tests"], cwd=root, capture_output=True, text=True).stdout
    files = [root / line for line in tracked.splitlines() if line.endswith(".py")]
    knowing = {
        str(file.relative_to(root))
        for file in files
        if "bag_of_words" in (text := file.read_text(encoding="utf-8")) or "bag-of-words" in text
    }
    beside_another = "tests/models/test_makemore.py"  # which compares some models with those of somebody else
    assert knowing - {beside_another} == {"src/backproof/models/registry.py", "tests/models/test_pages.py"}
