"""Pictures, as PNG bytes: the losses of a run, and the gradient of the logits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _PALE, _STRONG, _MARK = "#24292f", "#b9cbe4", "#1f5fa8", "#c2410c"
_MOST_LABELS = 64
_MOST_POINTS = 4000


def loss_png(log10_losses: NDArray, drop_step: int) -> bytes:
    """Every step's log10 loss, its mean over blocks of a hundredth of the run, and where the learning rate drops."""
    figure, axes = _figure(9, 5)
    log10_losses = np.where(np.isfinite(log10_losses), log10_losses, np.nan)  # a loss of 0 is a gap
    steps = len(log10_losses)
    stride = max(1, steps // _MOST_POINTS)
    axes.plot(np.arange(0, steps, stride), log10_losses[::stride], color=_PALE, lw=0.6, label=_every(stride))
    block = max(1, min(1000, steps // 20))
    blocks = steps // block
    means = log10_losses[: blocks * block].reshape(blocks, block).mean(1)
    middles = (np.arange(blocks) + 0.5) * block
    axes.plot(middles, means, color=_STRONG, lw=1.8, label=f"mean of {block:,} steps")
    if 0 < drop_step < steps:
        axes.axvline(drop_step, color=_MARK, lw=1, ls="--", label="learning rate drops")
    if (drawn := log10_losses[np.isfinite(log10_losses)]).size:
        low, high = np.percentile(drawn, [0.1, 99.9])
        margin = 0.1 * (high - low) + 1e-3
        axes.set_ylim(low - margin, max(high, drawn[0]) + margin)
    axes.set_xlim(0, steps)
    axes.set_xlabel("step")
    axes.set_ylabel("log10 of the loss")
    axes.set_title("Training loss")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(frameon=False)
    return _png(figure)


def curve_png(step_losses: NDArray, curve: Sequence[tuple[int, float, float]]) -> bytes:
    """The losses of the steps and of the validation split, nats a symbol; `curve` has steps, training, validation."""
    figure, axes = _figure(9, 5)
    steps = len(step_losses)
    stride = max(1, steps // _MOST_POINTS)
    drawn = np.where(np.isfinite(step_losses), step_losses, np.nan)
    axes.plot(np.arange(0, steps, stride), drawn[::stride], color=_PALE, lw=0.6, label=_every(stride))
    at, train, validation = np.array(curve, float).reshape(-1, 3).T
    axes.plot(at, train, color=_STRONG, lw=1.8, marker=".", label="training, mean since the last measurement")
    axes.plot(at, validation, color=_MARK, lw=1.8, marker=".", label="validation split")
    if (finite := np.isfinite(validation)).any():
        best = int(np.nanargmin(np.where(finite, validation, np.nan)))
        axes.annotate(
            f"{validation[best]:.3f}", (at[best], validation[best]), (0, -14), textcoords="offset points", ha="center",
            color=_MARK,
        )  # fmt: skip
    shown = np.concatenate([drawn[np.isfinite(drawn)], validation[finite]])
    if shown.size:
        low, high = np.percentile(shown, [0.1, 99.0])
        axes.set_ylim(low - 0.15 * (high - low) - 1e-3, high + 0.1 * (high - low) + 1e-3)
    axes.set_xlim(0, max(1, steps))
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per symbol)")
    axes.set_title("Loss")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(frameon=False)
    return _png(figure)


def dlogits_png(dlogits: NDArray, row_labels: list[str], column_labels: list[str]) -> bytes:
    """Heat map of dlogits (n, symbols): blue cells are pushed down, the red one of each row is pulled up.

    What is drawn is −n · dlogits, the way in which a step moves the logits.
    """
    n, symbols = dlogits.shape
    figure, axes = _figure(min(14, 2.4 + 0.27 * symbols), min(14, 1.6 + 0.24 * n))
    pull = -n * dlogits
    image = axes.imshow(pull, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    _label(axes.set_xticks, column_labels)
    _label(axes.set_yticks, row_labels, family="monospace")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("symbol")
    axes.set_ylabel("context and the symbol that came next")
    axes.set_title("Where a step pulls the logits: −n · dlogits; every row sums to 0")
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.tick_params(colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _label(set_ticks, labels: list[str], **style: str) -> None:
    stride = -(-len(labels) // _MOST_LABELS)
    set_ticks(range(0, len(labels), stride), labels[::stride], fontsize=8, parse_math=False, **style)


def _every(stride: int) -> str:
    return "every step" if stride == 1 else f"one step in {stride}"


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as boxes: no reason to fail
        figure.savefig(buffer, format="png")
    return buffer.getvalue()
