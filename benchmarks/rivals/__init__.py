"""The ways to take the same training step, each in a file of its own and each a `Rival`.

All are given the numbers of the examples (steps, batch) beforehand, cut out their own minibatches, do the same
arithmetic in float32 with plain gradient descent, and return every step's loss.
"""

from measuring.engine import Make, engine
from rivals import autograd_eager, compiled, jax_scan, manual_eager, published
from rivals.loop import UnavailableError

RIVALS: dict[str, Make] = {
    "published loop": published.create,
    "manual eager": manual_eager.create,
    "autograd eager": autograd_eager.create,
    "torch.compile": compiled.create,
    "JAX scan": jax_scan.create,
    "JAX scan, unrolled": jax_scan.create_unrolled,
    "eager": engine("eager"),
    "fused": engine("fused", threads=1),
}
ONE_THREAD = "fused, one thread"


def by_threads(threads: int) -> dict[str, Make]:
    """The rivals where each may use so many threads, and then also what ours does with one."""
    if threads == 1:
        return RIVALS
    return RIVALS | {ONE_THREAD: RIVALS["fused"], "fused": engine("fused", threads=threads)}


__all__ = ["ONE_THREAD", "RIVALS", "UnavailableError", "by_threads"]
