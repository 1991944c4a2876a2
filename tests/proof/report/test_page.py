"""The page, the notebook fragment and the JSON of a report: complete, self-contained, small and well-formed."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import Tensor

from backproof.proof.report import heat
from backproof.proof.report.as_json import JSON_VERSION, to_json
from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.page import MOST_PICTURED, to_html, to_notebook_html
from backproof.proof.report.registry import entry_of
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Evidence, Row, Verdict


def evidence(got: Tensor, expected: Tensor) -> Evidence:
    place = tuple(int(i) for i in torch.unravel_index((got - expected).abs().argmax(), got.shape))
    return Evidence(place, float(got[place]), float(expected[place]), got, expected)


def culprit(name: str = "bndiff", shape: tuple[int, ...] = (32, 64), cause: str | None = "F6") -> Row:
    expected = torch.randn(shape)
    shown = evidence(expected + torch.randn(shape), expected)
    return Row(
        name,
        Verdict.WRONG,
        cause,
        f"d{name} is wrong: <b>&\n  next: x",
        max_difference=1.5,
        culprit=True,
        evidence=shown,
    )


def report(*culprits: Row) -> Report:
    rows = (
        Row("y", Verdict.EXACT, exact=True, approximate=True, max_difference=0.0),
        Row("h", Verdict.ROUNDING, message="dh differs by rounding.", approximate=True, max_difference=4e-10),
        *culprits,
        Row("x", Verdict.INHERITED, max_difference=1e-3, inherited_from=("bndiff",)),
    )
    return Report(rows if culprits else rows[:2], notes=("one <note>",), skipped=("size 1: too small.",))


class Checker(HTMLParser):
    """Collects tags and text, and fails on a tag that is closed out of order."""

    VOID = ("meta", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    assert not checker.open
    return checker


def test_the_page_holds_every_value_and_every_message() -> None:
    page = parsed(to_html(report(culprit())))
    text = "".join(page.text)
    for wanted in (
        "One line is at fault: dbndiff",
        "dbndiff is wrong: <b>&",
        "next: x",
        "F6",
        "from bndiff",
        "1.50e+00",
    ):
        assert wanted in text
    for wanted in ("dh differs by rounding.", "one <note>", "not replayed", "size 1: too small."):
        assert wanted in text
    assert [attrs for tag, attrs in page.seen if tag == "th" and attrs.get("scope") == "row"].__len__() == 4


def test_a_proved_report_says_so() -> None:
    text = "".join(parsed(to_html(report())).text)
    assert "All 2 gradients are proved" in text
    assert "Backproof: proved" in text


def test_nothing_is_fetched_and_nothing_is_run() -> None:
    page = to_html(report(culprit()))
    assert "http" not in page
    assert "<script" not in page
    assert "url(" not in page
    for tag, attrs in parsed(page).seen:
        if tag == "img":
            assert attrs["src"].startswith("data:image/png;base64,")
            assert len(attrs["alt"]) > 20
        assert "onclick" not in attrs


def test_the_fragment_is_the_pages_body_and_styles_only_itself() -> None:
    fragment = to_notebook_html(report(culprit()))
    parsed(fragment)
    assert "<html" not in fragment
    (style,) = re.findall(r"<style>(.*?)</style>", fragment, re.DOTALL)
    flat = re.sub(r"@media\([^)]*\)\{(.*?\})\}", r"\1", style, flags=re.DOTALL)
    for selectors in re.findall(r"([^{}]+)\{[^{}]*\}", flat):
        assert all("backproof" in selector for selector in selectors.split(",")), selectors
    shown = report(culprit())
    assert to_notebook_html(shown) in to_html(shown)


def test_a_page_with_every_gradient_of_the_published_network_wrong_stays_small() -> None:
    shapes = (
        [(32, 27)] * 6 + [(32, 64)] * 8 + [(30, 64), (64, 27), (27, 10), (32, 3, 10), (1, 64), (1, 64), (64,), (27,)]
    )
    rows = [culprit(f"v{i}", shape) for i, shape in enumerate(shapes)]
    page = to_html(report(*rows))
    assert page.count("<figure>") == 3 * len(shapes)
    assert len(page.encode()) < 1_000_000


def test_the_number_of_maps_is_limited_and_large_tensors_are_pooled() -> None:
    rows = [culprit(f"v{i}", (500, 300)) for i in range(2)]
    page = to_html(report(*rows))
    assert "A cell shows the largest of 4 × 3 elements." in page
    assert len(page.encode()) < 600_000
    many = to_html(report(*[culprit(f"v{i}", (2, 2)) for i in range(MOST_PICTURED + 2)]))
    assert many.count("<figure>") == 3 * MOST_PICTURED
    assert many.count("No maps: many other culprits have some.") == 2


def test_a_replay_is_shown() -> None:
    page = to_html(report(replace(culprit(), replay="upstream transposed")))
    assert "replay: upstream transposed" in page


def test_a_cause_is_explained_beside_its_culprit() -> None:
    page = parsed(to_html(report(culprit())))
    entry = entry_of("F6")
    text = " ".join("".join(page.text).split())
    assert f"F6: {entry.title}" in text
    assert all(said.replace("`", "") in text for said in (entry.what, entry.why, entry.mend))
    assert "An example: backproof explain F6" in text
    assert [tag for tag, _ in page.seen].count("details") == 1
    assert ("span", {"class": "bp-cause", "title": entry.title}) in page.seen
    several = parsed(to_html(report(replace(culprit(cause=None), candidates=("F12", "F6")))))
    assert [tag for tag, _ in several.seen].count("details") == 2
    assert ">F6 or F12</td>" in to_html(report(replace(culprit(cause=None), candidates=("F12", "F6"))))
    unknown = parsed(to_html(report(culprit(cause=None))))
    assert "details" not in [tag for tag, _ in unknown.seen]


def test_the_code_in_an_explanation_is_shown_as_code() -> None:
    page = to_html(report(culprit(cause="F10")))
    assert "for <code>y = x @ W</code>, <code>dW</code> is <code>x.T @ dy</code>" in page


def test_how_sure_a_cause_is_and_what_the_advice_is_worth_are_shown() -> None:
    page = to_html(report(replace(culprit(), certainty=Certainty.FITS, applicability=Applicability.MENDS)))
    assert ">fits to rounding</span>" in page
    assert ">advice: mends it</span>" in page
    assert ">advice: look here</span>" in to_html(report(replace(culprit(), applicability=Applicability.LOOK)))
    plain = to_html(report(culprit()))
    assert 'class="bp-sure"' not in plain and 'class="bp-mends"' not in plain


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 3, 4), (0, 3)])
def test_every_shape_can_be_shown(shape: tuple[int, ...]) -> None:
    got = torch.randn(shape)
    row = replace(culprit(), evidence=Evidence((0,) * len(shape), 0.0, 1.0, got, got + 1))
    page = to_html(report(row))
    parsed(page)
    assert page.count("<figure>") == (3 if got.numel() > 1 else 0)


def test_tensors_of_different_shapes_have_no_difference() -> None:
    row = replace(culprit(), evidence=Evidence((), 0.0, 0.0, torch.randn(32, 64), torch.randn(1, 64)))
    page = to_html(report(row))
    assert page.count("<figure>") == 2
    assert 'bp-ring" style' not in page


def pixels(uri: str) -> tuple[list[list[int]], list[tuple[int, ...]]]:
    """Decodes a palette PNG of ours: rows of palette entries, and the palette."""
    data = base64.b64decode(uri.partition(",")[2])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, chunks = 8, {}
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert check == zlib.crc32(kind + body)
        chunks[kind] = body
        place += 12 + length
    columns, rows, *kinds = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kinds == [8, 3, 0, 0, 0]
    lines = zlib.decompress(chunks[b"IDAT"])
    picture = [list(lines[r * (columns + 1) + 1 : (r + 1) * (columns + 1)]) for r in range(rows)]
    palette = chunks[b"PLTE"]
    return picture, [tuple(palette[i : i + 3]) for i in range(0, len(palette), 3)]


def test_a_picture_shows_sign_size_zero_and_what_is_not_finite() -> None:
    map_ = heat.cells(torch.tensor([[-2.0, -1.0, 0.0], [1.0, 2.0, float("nan")]]))
    light, dark = heat.pictures(map_, heat.largest(map_))
    picture, colours = pixels(light)
    assert picture == [[1, 64, 128], [192, 255, 0]]
    assert len(colours) == 256
    assert colours[128] == heat.LIGHT[2]
    assert colours[1] == heat.LIGHT[0]
    assert colours[255] == heat.LIGHT[4]
    assert pixels(dark)[0] == picture
    assert pixels(dark)[1][128] == heat.DARK[2]


def test_a_pooled_cell_keeps_its_largest_element_with_its_sign() -> None:
    big = torch.zeros(300, 130)
    big[299, 129] = -5.0
    big[0, 1] = 3.0
    big[1, 0] = -2.0
    pooled = heat.cells(big)
    assert pooled.pooled == (3, 2)
    assert pooled.shape == (100, 65)
    assert pooled.numbers[-1, -1] == -5.0
    assert pooled.numbers[0, 0] == 3.0


def test_json_has_a_version_and_every_field_and_is_strict() -> None:
    rows = replace(culprit(), evidence=Evidence((1, 2), float("nan"), float("-inf"), torch.zeros(2), torch.zeros(2)))
    sure = {"certainty": Certainty.REPLAYED, "applicability": Applicability.MENDS}
    text = to_json(report(replace(rows, max_difference=float("inf"), replay="size 7", **sure)))
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert record["version"] == JSON_VERSION == 1
    assert record["ok"] is False
    assert record["proved"] == 2
    assert record["culprits"] == ["bndiff"]
    assert record["notes"] == ["one <note>"]
    assert record["skipped"] == ["size 1: too small."]
    assert record["rows"][2] == {
        "name": "bndiff",
        "gradient": "dbndiff",
        "verdict": "wrong",
        "cause": "F6",
        "candidates": [],
        "certainty": "shown by a replay",
        "applicability": "mends it",
        "culprit": True,
        "message": "dbndiff is wrong: <b>&\n  next: x",
        "exact": False,
        "approximate": False,
        "max_difference": "Infinity",
        "inherited_from": [],
        "replay": "size 7",
        "evidence": {"worst_index": [1, 2], "got": "NaN", "expected": "-Infinity"},
    }
    right = record["rows"][0]
    assert (right["evidence"], right["certainty"], right["applicability"]) == (None, None, None)
    entry = entry_of("F6")
    assert record["causes"] == {"F6": {"title": entry.title, "what": entry.what, "why": entry.why, "mend": entry.mend}}


def test_json_names_the_causes_that_are_not_certain() -> None:
    row = replace(culprit(cause=None), candidates=("F12", "F6"), certainty=Certainty.ONE_OF_SEVERAL)
    record = json.loads(to_json(report(row)))
    assert record["rows"][2]["cause"] is None
    assert record["rows"][2]["candidates"] == ["F12", "F6"]
    assert record["rows"][2]["certainty"] == "one of several"
    assert list(record["causes"]) == ["F6", "F12"]
    assert json.loads(to_json(report()))["causes"] == {}


def test_a_notebook_shows_the_fragment_and_a_file_holds_the_page(tmp_path: Path) -> None:
    shown = report(culprit())
    assert shown._repr_html_() == to_notebook_html(shown)
    shown.save_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == to_html(shown)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        report(culprit()).save_html(str(tmp_path / "report.html"))
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
