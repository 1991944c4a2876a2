"""Which gradient belongs to which value: by name, in the ways in which people name and keep them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from torch import Tensor

from backproof.proof.graph.graph import trace
from backproof.proof.user.conventions import PLAIN, USUAL, Convention, Reading, looks_like_a_gradient, readings
from backproof.proof.user.kept import Kept, kept_in, tensor_of


class Given(NamedTuple):
    """One gradient as the user has it: what it is called, and the tensor; None is one that should be there."""

    label: str
    gradient: Tensor | None


@dataclass
class Pairs:
    """The values of a namespace, and the gradients that go with them.

    `versions` holds second gradients of values that have one, by what their names add: `_fast`, `2`. `unjudged` are
    gradients that no value was found for, each with a hint; `notes` says which names were taken for gradients.
    """

    values: dict[str, Tensor]
    first: dict[str, Given] = field(default_factory=dict)
    versions: dict[str, dict[str, Given]] = field(default_factory=dict)
    unjudged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def partial(version: str) -> bool:
        """Whether names with this addition are also usual for the shares that a gradient is the sum of."""
        return version.lstrip("_") in ("a", "b") or version.lstrip("_v").isdigit()

    def add(self, name: str, version: str, given: Given) -> None:
        if name in self.first and not version:
            version = f" ({given.label})"
        (self.versions.setdefault(version, {}) if version else self.first)[name] = given

    def promote(self) -> None:
        """Where there are only versions of a gradient, the first of them is its gradient."""
        for group in self.versions.values():
            for name in [name for name in group if name not in self.first]:
                self.first[name] = group.pop(name)
        for version in [version for version, group in self.versions.items() if not group]:
            del self.versions[version]


def pair_up(namespace: Mapping[str, Any], loss: object, conventions: tuple[Convention, ...] | None) -> Pairs:
    """Pairs the gradients of a namespace with their values; `conventions` None stands for all that are usual."""
    found = kept_in(namespace)
    pairs = Pairs(dict(found.values))
    candidates = found.gradients
    asked = USUAL if conventions is None else conventions
    last_names = {
        head: _last_names(pairs.values, head) for head in {called.rpartition(".")[0] for called in candidates}
    }
    read = {called: _readings(called, one, pairs.values, last_names, asked) for called, one in candidates.items()}
    taken = _taken(read) if conventions is None else conventions
    for called, gradient in candidates.items():
        fits = [reading for reading in read[called] if reading.convention in taken]
        _add(pairs, called, gradient, fits)
    if conventions is None:
        for name, label, gradient in found.settled:
            pairs.add(name, "", Given(label, tensor_of(gradient, pairs.values[name])))
        pairs.unjudged += found.unjudged
    _leave_out_forward_values(pairs, loss)
    pairs.promote()
    judged = {given.label for group in (pairs.first, *pairs.versions.values()) for given in group.values()}
    pairs.unjudged += _without_value(candidates, judged, pairs, taken or (PLAIN,), loss)
    if conventions is None:
        pairs.notes += _conventions_taken(pairs, read, judged, found)
    return pairs


def _readings(
    called: str,
    gradient: Any,
    values: Mapping[str, Tensor],
    last_names: Mapping[str, Mapping[str, None]],
    conventions: tuple[Convention, ...],
) -> list[Reading]:
    head, _, last = called.rpartition(".")
    found = []
    for reading in readings(last, last_names[head], conventions):
        name = f"{head}.{reading.base}" if head else reading.base
        if reading.convention.weak and not _is_surely_one(gradient, values[name]):
            continue
        found.append(reading._replace(base=name))
    return found


def _last_names(values: Mapping[str, Tensor], head: str) -> dict[str, None]:
    start = f"{head}." if head else ""
    return {name[len(start) :]: None for name in values if name.startswith(start)}


def _is_surely_one(gradient: Any, value: Tensor) -> bool:
    return value.requires_grad and isinstance(gradient, Tensor) and gradient.shape == value.shape


def _taken(read: Mapping[str, list[Reading]]) -> tuple[Convention, ...]:
    """The conventions that the namespace uses: the strong ones, and the weak ones only where there is no other."""
    used = dict.fromkeys(reading.convention for found in read.values() for reading in found)
    strong = tuple(convention for convention in used if not convention.weak)
    return strong or tuple(used)


def _add(pairs: Pairs, called: str, gradient: Any, fits: list[Reading]) -> None:
    whose = dict.fromkeys(reading.base for reading in fits)
    if not whose:
        return
    if len(whose) > 1:
        pairs.unjudged.append(f"{called} (of {' or of '.join(whose)}? say so with pairs=)")
        return
    name, version = fits[0].base, fits[0].version
    value = pairs.values[name]
    given = tensor_of(gradient, value)
    if given is None and gradient is not None:
        if version:
            return  # a number, or whatever else has such a name
        pairs.unjudged.append(f"{called} (a {type(gradient).__name__} and not a tensor)")
        return
    pairs.add(name, version, Given(called, given))


def _leave_out_forward_values(pairs: Pairs, loss: object) -> None:
    """Pairs whose second half is a value of the forward pass: with dx = x1 - x0, say."""
    for group in (pairs.first, *pairs.versions.values()):
        for name in _on_the_way({name: given.gradient for name, given in group.items()}, loss):
            del group[name]


def _on_the_way(tensors: Mapping[str, Tensor | None], loss: object) -> list[str]:
    """The names of those that the loss was computed from."""
    followed = {name: one for name, one in tensors.items() if one is not None and one.requires_grad}
    if not followed or not isinstance(loss, Tensor) or not loss.requires_grad:
        return []
    graph = trace(followed, loss)
    return [name for name in followed if graph.reaches_output(name)]


def _without_value(
    candidates: Mapping[str, Any], judged: set[str], pairs: Pairs, taken: tuple[Convention, ...], loss: object
) -> Iterator[str]:
    """Names of gradients that belong to no value: misspelt, unfinished, or of a value that is not among the names."""
    said = {one.split(" (")[0] for one in pairs.unjudged}
    left = {
        called: base
        for called, gradient in candidates.items()
        if called not in judged | said
        and isinstance(gradient, Tensor)
        and gradient.is_floating_point()
        and (base := looks_like_a_gradient(called.rpartition(".")[2], taken))
    }
    forward = _on_the_way({called: candidates[called] for called in left}, loss)
    for called, base in left.items():
        if called not in forward:
            yield f"{called} ({_hint(base, called, pairs.values)})"


def _hint(base: str, called: str, values: Mapping[str, Tensor]) -> str:
    names = [name for name in values if name != called]
    alike = [name for name in names if name.lower() == base.lower()]
    close = alike or get_close_matches(base, names, n=1)
    return f"is {close[0]} meant?" if close else f"there is no tensor {base}"


def _conventions_taken(pairs: Pairs, read: Mapping[str, list[Reading]], judged: set[str], found: Kept) -> Iterator[str]:
    """Says in a sentence each what was taken for a gradient where it is not called d<name>."""
    first: dict[Convention, tuple[str, str]] = {}
    for called, ways in read.items():
        if called in judged and ways and ways[0].convention != PLAIN:
            first.setdefault(ways[0].convention, (called, ways[0].base))
    for called, name in first.values():
        yield f"gradients are taken by name: {called} for the gradient of {name}."
    yield from found.notes
    for group in pairs.versions.values():
        for name, given in group.items():
            if name in pairs.first:
                yield f"{given.label} is judged as a second gradient of {name}, beside {pairs.first[name].label}."
            break
