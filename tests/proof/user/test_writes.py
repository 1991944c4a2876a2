"""Who wrote into a tensor that is only to be read: by bits and by version."""

from __future__ import annotations

import numpy as np
import torch

from backproof.proof.user.writes import damaged, describe_change, keep, storage_of


def test_writes_are_found_by_bits_and_by_version() -> None:
    tensors = {name: torch.arange(4.0) for name in ("read", "added", "same", "numpy")}
    kept = keep({**tensors, "text": "no tensor", "sparse": torch.eye(2).to_sparse()})
    assert set(kept) == set(tensors)
    tensors["added"].add_(1)
    tensors["same"].mul_(1)
    np.asarray(tensors["numpy"])[2] = 7.0
    assert set(damaged(kept)) == {"added", "same", "numpy"}
    assert describe_change(kept["added"]) == "largest change 1.00e+00 at [0]: was 0, is 1"
    assert describe_change(kept["same"]) == "the numbers written happen to be the same this time"
    assert describe_change(kept["numpy"]) == "largest change 5.00e+00 at [2]: was 2, is 7"


def test_a_change_of_shape_and_of_a_single_number() -> None:
    x, y, z = torch.zeros(3), torch.tensor(1.0), torch.tensor([1.0, 2.0])
    kept = keep({"x": x, "y": y, "z": z})
    x.resize_(2)
    y.fill_(3.0)
    z[1] = float("nan")
    assert describe_change(kept["x"]) == "it was (3,) torch.float32, it is (2,) torch.float32"
    assert describe_change(kept["y"]) == "largest change 2.00e+00: was 1, is 3"
    assert describe_change(kept["z"]) == "largest change inf at [1]: was 2, is nan"


def test_views_share_their_memory() -> None:
    x = torch.zeros(4)
    assert storage_of(x) == storage_of(x[2:]) != storage_of(x.clone())
