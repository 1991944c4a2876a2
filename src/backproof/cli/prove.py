"""`backproof prove`: hold the hand-written backward pass against automatic differentiation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backproof.cli.console import console, heading, print_comparisons, print_corpus

_FAILED = 1


@dataclass(frozen=True)
class Prove:
    """Prove every hand-written gradient on one minibatch, value by value.

    Exits with 0 only when all of them agree with automatic differentiation.

    Example: backproof prove --grain both
    """

    data: str = "embedded"
    """Words: embedded, makemore, or a UTF-8 file with one word a line."""
    hidden: int = 64
    """Neurons of the hidden layer."""
    grain: Literal["steps", "fused", "both"] = "steps"
    """The 26 gradients step by step, the fused ones, or both."""
    correction: Literal[1, 0] = 1
    """Variance of batch normalisation: 1 divides by n - 1 (published), 0 by n."""
    batch_size: int = 32
    """Examples of the minibatch."""
    seed: int = 2147483647
    """Seed of the parameters and of the minibatch."""

    def run(self) -> int:
        from backproof.training.settings import Settings

        settings = Settings(hidden=self.hidden, correction=self.correction, batch_size=self.batch_size, seed=self.seed)
        from torch import Generator

        from backproof import experiment, text
        from backproof.models import mlp
        from backproof.proof import network
        from backproof.proof.compare import all_agree

        corpus = text.read_corpus(self.data)
        vocabulary, splits = experiment.prepare(corpus, settings)
        generator = Generator().manual_seed(self.seed)
        shape = experiment.network_shape(settings, vocabulary)
        parameters = mlp.initial_parameters(shape, generator, settings.affine_seed)
        batch = experiment.draw_batch(splits, self.batch_size, generator)
        given = parameters, batch.contexts, batch.targets, self.correction

        print_corpus(corpus)
        console.print(
            f"One minibatch of {self.batch_size}, {self.hidden} hidden neurons, "
            f"{sum(tensor.numel() for tensor in parameters):,} parameters."
        )
        rows = []
        if self.grain != "fused":
            heading("Gradients by hand, step by step, against automatic differentiation")
            steps = network.prove_steps(*given)
            print_comparisons(steps)
            rows += steps
            if note := network.rounding_note(*given):
                console.print(note, style="dim")
        if self.grain != "steps":
            heading("Fused gradients, against automatic differentiation")
            fused = network.prove_fused(*given)
            print_comparisons(fused)
            rows += fused
        agreeing, exact = sum(row.agrees for row in rows), sum(row.exact for row in rows)
        proved = all_agree(rows)
        console.print(
            f"\n{agreeing} of {len(rows)} gradients proved, {exact} of them exact to the last bit.",
            style="bold green" if proved else "bold red",
        )
        return 0 if proved else _FAILED
