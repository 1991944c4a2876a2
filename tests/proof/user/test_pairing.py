"""Which gradient belongs to which value, by the names that people give them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from backproof import check
from backproof.proof.report.rows import Verdict
from backproof.proof.user.conventions import PLAIN, USUAL, Convention, looks_like_a_gradient, readings
from backproof.proof.user.pairing import pair_up


def layer() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A layer's values, and the right gradients by the same names."""
    generator = torch.Generator().manual_seed(0)
    x, W = torch.randn(5, 3, generator=generator), torch.randn(3, 2, generator=generator).requires_grad_()
    z = x @ W
    a = torch.sigmoid(z)
    loss = (a**2).sum()
    da = 2 * a.detach()
    dz = da * (a * (1 - a)).detach()
    return dict(x=x, W=W, z=z, a=a, loss=loss), dict(a=da, z=dz, W=x.T @ dz)


@pytest.mark.parametrize(
    "name",
    [
        "d{}", "d_{}", "dL_d{}", "dLd{}", "dL_d_{}", "dloss_d{}", "dloss_d_{}", "dJ_d{}", "grad_{}", "grad{}",
        "gradient_{}", "{}_grad", "{}_gradient", "g_{}", "g{}", "{}_bar", "{}_g", "d{}_manual", "d{}2", "grad_{}_fast",
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrong", [False, True])
def test_usual_names_are_understood(name: str, wrong: bool) -> None:
    values, gradients = layer()
    given = {name.format(one): gradient for one, gradient in gradients.items()}
    if wrong:
        given[name.format("z")] = -2 * given[name.format("z")]
    report = check(values["loss"], {**values, **given})
    assert {row.name: row.gradient for row in report.rows} == {one: name.format(one) for one in gradients}
    assert [row.name for row in report.culprits] == (["z"] if wrong else [])
    assert report.unjudged == () and report.open == ()
    assert any("taken by name" in note for note in report.notes) is not name.startswith("d{}")


def test_a_version_is_judged_under_its_own_name_and_by_its_own_upstream_gradients() -> None:
    values, gradients = layer()
    first = {f"d{one}": gradient for one, gradient in gradients.items()}
    wrong = 3 * gradients["z"]
    report = check(values["loss"], {**values, **first, "dz_fast": wrong, "dW_fast": values["x"].T @ wrong})
    assert [row.name for row in report.culprits] == ["z_fast"]
    assert report["W_fast"].verdict is Verdict.INHERITED and report["W_fast"].inherited_from == ("z_fast",)
    assert report["z"].ok and report["W"].ok
    assert "dz_fast is judged as a second gradient of z, beside dz." in report.notes


def test_two_conventions_side_by_side_are_both_judged() -> None:
    values, gradients = layer()
    first = {f"d{one}": gradient for one, gradient in gradients.items()}
    report = check(values["loss"], {**values, **first, "grad_W": 2 * gradients["W"]})
    assert [row.gradient for row in report.culprits] == ["grad_W"] and report["W"].ok


def test_a_partial_share_is_no_second_gradient() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y, z = x**2, x**3
    loss = (y + z).sum()
    given = dict(dx=2 * x + 3 * x**2, dx_1=2 * x, dx_2=3 * x**2, dy=torch.ones(3), dz=torch.ones(3))
    report = check(loss, dict(x=x, y=y, z=z, **{name: one.detach() for name, one in given.items()}))
    assert report.ok and {row.name for row in report.rows} == {"x", "y", "z"}
    assert "dx_1 is a part of the gradient of x, and not judged by itself." in report.notes


def test_a_value_that_is_called_like_a_version_comes_first() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    x2 = x * 3
    report = check((x2**2).sum(), dict(x=x, x2=x2, dx2=2 * x2.detach(), dx=6 * x2.detach()))
    assert report.ok and {row.name: row.gradient for row in report.rows} == {"x": "dx", "x2": "dx2"}


def test_gradients_in_a_dictionary() -> None:
    values, gradients = layer()
    for grads in (gradients, {f"d{one}": gradient for one, gradient in gradients.items()}):
        report = check(values["loss"], {**values, "grads": {**grads, "nobody": torch.ones(2)}})
        assert report.ok and len(report.rows) == 3 and report["W"].gradient.startswith("grads['")
        assert report.unjudged == ("grads['nobody'] (there is no tensor nobody)",)
    wrong = check(values["loss"], {**values, "grads": {**gradients, "W": 2 * gradients["W"]}})
    assert [row.gradient for row in wrong.culprits] == ["grads['W']"]
    params = {"W": values.pop("W")}
    report = check(values["loss"], {**values, "params": params, "grads": gradients})
    assert report.ok and report["params['W']"].gradient == "grads['W']"


def test_gradients_in_a_named_tuple() -> None:
    class Grads(NamedTuple):
        W: Tensor
        z: Tensor

    values, gradients = layer()
    report = check(values["loss"], {**values, "grads": Grads(gradients["W"], gradients["z"])})
    assert report.ok and {row.name for row in report.rows} == {"W", "z"}


def test_lists_beside_each_other() -> None:
    values, gradients = layer()
    lists: dict[str, Any] = dict(parameters=[values["W"], values["a"]], grads=[gradients["W"], gradients["a"]])
    report = check(values["loss"], {**values, **lists})
    assert report.ok and report["W"].gradient == "grads[0]"
    assert "gradients are taken from grads, in the order of parameters." in report.notes
    lists["grads"][0] = -lists["grads"][0]
    assert [row.gradient for row in check(values["loss"], {**values, **lists}).culprits] == ["grads[0]"]
    only = {"parameters": lists["parameters"], "grads": lists["grads"]}
    assert check(values["loss"], only)["parameters[0]"].culprit


def test_which_list_is_asked_and_not_guessed() -> None:
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))
    loss = (a * b).sum()
    names = dict(ones=[a], others=[b], grads=[torch.ones(2)], da=torch.ones(2), a=a)
    report = check(loss, names)
    assert report.unjudged == ("grads (for ones or for others? say so with pairs=)",)
    report = check(loss, dict(a=a, da=torch.ones(2), grads=[torch.ones(2), torch.ones(2)]))
    assert report.unjudged == ("grads (no list of values fits it)",)


def test_attributes_of_objects() -> None:
    values, gradients = layer()
    dense = SimpleNamespace(weights=values.pop("W"), weights_grad=gradients["W"], name="dense")
    report = check(values["loss"], {**values, "layers": [dense], "dz": gradients["z"]})
    assert report.ok and report["layers[0].weights"].gradient == "layers[0].weights_grad"
    dense.weights_grad = 2 * gradients["W"]
    assert [row.name for row in check(values["loss"], {**values, "self": dense, "dz": gradients["z"]}).culprits] == [
        "self.weights"
    ]


def test_arrays_of_numpy() -> None:
    values, gradients = layer()
    given = {f"d{one}": gradient.double().numpy() for one, gradient in gradients.items()}
    assert check(values["loss"], {**values, **given}).proved == 3
    given["dW"] = 2 * given["dW"]
    assert [row.name for row in check(values["loss"], {**values, **given}).culprits] == ["W"]
    assert check(values["loss"], {**values, **given, "dloss": np.float32(1)})["loss"].ok


def test_a_weak_name_needs_a_gradients_shape_and_no_strong_one_beside_it() -> None:
    values, gradients = layer()
    gain = torch.ones(7)
    pairs = pair_up({**values, "gW": gradients["W"], "gz": gain}, values["loss"], None)
    assert {name: given.label for name, given in pairs.first.items()} == {"W": "gW"}
    pairs = pair_up({**values, "gW": gradients["W"], "dz": gradients["z"]}, values["loss"], None)
    assert {name: given.label for name, given in pairs.first.items()} == {"z": "dz"}


def test_a_name_that_fits_two_values_is_asked_about() -> None:
    x, grad_x = (torch.ones(2, requires_grad=True) for _ in range(2))
    loss = (x * 2 + grad_x).sum()
    names = {"x": x, "L_dx": grad_x, "dL_dx": torch.ones(2), "dx": torch.full((2,), 2.0)}
    assert check(loss, names).unjudged == ("dL_dx (of L_dx or of x? say so with pairs=)",)


def test_prefix_and_suffix_are_taken_at_their_word() -> None:
    values, gradients = layer()
    given = {f"{one}_grad": gradient for one, gradient in gradients.items()}
    assert check(values["loss"], {**values, **given, "dz": torch.ones(1)}, suffix="_grad").proved == 3
    hand = {f"d{one}_hand": gradient for one, gradient in gradients.items()}
    assert check(values["loss"], {**values, **hand}, suffix="_hand").proved == 3
    assert check(values["loss"], {**values, **given, "my_z": gradients["z"]}, prefix="my_").proved == 1


@pytest.mark.parametrize("word", ["data", "diff_x", "dim", "dropout", "dt"])
def test_ordinary_words_are_no_gradients(word: str) -> None:
    assert looks_like_a_gradient(word, [PLAIN]) == ""
    values, gradients = layer()
    report = check(values["loss"], {**values, "dW": gradients["W"], word: torch.ones(3)})
    assert report.unjudged == ()


def test_what_looks_like_a_gradient_is_said_also_where_it_carries_a_graph() -> None:
    values, gradients = layer()
    names = {**values, "dW": gradients["W"], "dsig": values["a"] * 2, "dzz": gradients["z"]}
    assert check(values["loss"], names).unjudged == ("dsig (there is no tensor sig)", "dzz (is z meant?)")


def test_readings_of_a_whole_name_come_before_versions() -> None:
    (whole,) = readings("dx2", {"x": 0, "x2": 0}, USUAL)
    assert (whole.base, whole.version) == ("x2", "")
    (version,) = readings("dx2", {"x": 0}, USUAL)
    assert (version.base, version.version, version.convention) == ("x", "2", PLAIN)
    assert readings("delta", {"x": 0}, USUAL) == []
    assert str(Convention("grad_")) == "grad_<name>"
