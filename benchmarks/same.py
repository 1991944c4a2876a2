"""Other right ways to write the examples' lines: fused, collapsed, or with the sums in another order.

    SAME[network]  line as it stands -> lines that say the same

A prover that takes one of these for a fault has mistaken rounding for an error. `benchmarks/correct.py`
mixes them.
"""

from __future__ import annotations

_NINJA = {
    "dlogprobs[range(n), s.Yb] = -dloss / n": [
        "dlogprobs[range(n), s.Yb] = dloss * (-1.0 / n)",
    ],
    "dprobs = dlogprobs / s.probs": [
        "dprobs = s.probs**-1 * dlogprobs",
    ],
    "dcounts_sum_inv = (s.counts * dprobs).sum(1, keepdim=True)": [
        "dcounts_sum_inv = (s.counts * dprobs) @ torch.ones_like(s.counts[:1]).T",
        "dcounts_sum_inv = sum((s.counts * dprobs).T)[:, None]",
    ],
    "dcounts_sum = -(s.counts_sum**-2) * dcounts_sum_inv": [
        "dcounts_sum = -s.counts_sum_inv * s.counts_sum_inv * dcounts_sum_inv",
    ],
    "dlogits = dnorm_logits + at_max * dlogit_maxes": [
        "dlogits = ((s.logits.softmax(1) - functional.one_hot(s.Yb, letters)) / n * dloss).to(dprobs.dtype)",
    ],
    "db2 = dlogits.sum(0)": [
        "db2 = sum(dlogits.unbind())",
        "db2 = sum(reversed(dlogits.unbind()))",
        "db2 = torch.ones_like(dlogits[:, 0]) @ dlogits",
    ],
    "dW2 = s.h.T @ dlogits": [
        "dW2 = (s.h[:, :, None] * dlogits[:, None]).sum(0)",
        "dW2 = sum(torch.outer(a, b) for a, b in zip(s.h, dlogits))",
    ],
    "dhpreact = (1 - s.h**2) * dh": [
        "dhpreact = (1 - s.h) * (1 + s.h) * dh",
        "dhpreact = dh - s.h * s.h * dh",
        "dhpreact = dh / s.hpreact.cosh() ** 2",
    ],
    "dbngain = (s.bnraw * dhpreact).sum(0, keepdim=True)": [
        "dbngain = sum(s.bnraw * dhpreact)[None]",
        'dbngain = torch.einsum("nh,nh->h", s.bnraw, dhpreact)[None]',
    ],
    "dbnvar = -0.5 * (s.bnvar + EPSILON) ** -1.5 * dbnvar_inv": [
        "dbnvar = -0.5 * s.bnvar_inv**3 * dbnvar_inv",
        "dbnvar = -dbnvar_inv / (2 * (s.bnvar + EPSILON) * (s.bnvar + EPSILON).sqrt())",
    ],
    "dbnmeani = -dbndiff.sum(0, keepdim=True)": [
        "dbnmeani = -sum(dbndiff)[None]",
    ],
    "db1 = dhprebn.sum(0)": [
        "db1 = torch.ones_like(dhprebn[:, 0]) @ dhprebn",
        "db1 = sum(dhprebn)",
    ],
    "dC = torch.zeros_like(s.C).index_put((s.Xb,), demb, accumulate=True)": [
        "dC = torch.zeros_like(s.C).index_add(0, s.Xb.flatten(), demb.flatten(0, 1))",
        "dC = torch.einsum('npv,npd->vd', functional.one_hot(s.Xb, letters).to(demb.dtype), demb)",
    ],
}

SAME: dict[str, dict[str, list[str]]] = {
    "ninja": {
        **_NINJA,
        "dhprebn = dbndiff + 1 / n * dbnmeani": [
            "dhprebn = s.bngain * s.bnvar_inv / n * (n * dhpreact - dhpreact.sum(0) - n / (n - 1) * s.bnraw * dbngain)",
            "dhprebn = dbndiff - dbndiff.mean(0)",
        ],
    },
    "ninja_biased": {
        **_NINJA,
        "dhprebn = dbndiff + 1 / n * dbnmeani": [
            "dhprebn = s.bngain * s.bnvar_inv / n * (n * dhpreact - dhpreact.sum(0) - s.bnraw * dbngain)",
            "dhprebn = dbndiff - dbndiff.mean(0)",
        ],
    },
    "layernorm": {
        "dgain = (dy * s.xhat).sum(0)": [
            "dgain = sum(dy * s.xhat)",
            'dgain = torch.einsum("nf,nf->f", dy, s.xhat)',
        ],
        "dbias = dy.sum(0)": ["dbias = sum(dy)", "dbias = torch.ones_like(dy[:, 0]) @ dy"],
        "dstd = -(dxhat * s.diff).sum(1, keepdim=True) / s.std**2": [
            "dstd = -(dxhat * s.xhat).sum(1, keepdim=True) / s.std",
            "dstd = -sum((dxhat * s.diff).T)[:, None] / s.std**2",
        ],
        "dvar = dstd / (2 * s.std)": ["dvar = 0.5 * dstd * (s.var + EPSILON) ** -0.5"],
        "dx = ddiff + dmean / features": [
            "dx = ddiff - ddiff.mean(1, keepdim=True)",
            "dx = (dxhat - dxhat.mean(1, keepdim=True) - s.xhat * (dxhat * s.xhat).mean(1, keepdim=True)) / s.std",
        ],
    },
    "rmsnorm": {
        "dgain += (dy[rows] * s.xhat[rows]).sum(0)": ["dgain += sum(dy[rows] * s.xhat[rows])"],
        "drrms[rows] = (dxhat[rows] * s.x[rows]).sum(1, keepdim=True)": [
            'drrms[rows] = torch.einsum("nf,nf->n", dxhat[rows], s.x[rows])[:, None]',
        ],
        "dms[rows] = -0.5 * (s.ms[rows] + EPSILON) ** -1.5 * drrms[rows]": [
            "dms[rows] = -0.5 * s.rrms[rows] ** 3 * drrms[rows]",
        ],
        "rows = slice(start, start + TILE)": ["rows = slice(start, min(start + TILE, n))"],
    },
    "attention": {
        "dWo = (s.mixed.mT @ dy).sum(0)": [
            "dWo = s.mixed.flatten(0, 1).T @ dy.flatten(0, 1)",
            "dWo = sum(a.T @ b for a, b in zip(s.mixed, dy))",
        ],
        "dmasked = s.weights * (dweights - (dweights * s.weights).sum(-1, keepdim=True))": [
            "dmasked = s.weights * dweights - s.weights * (dweights * s.weights).sum(-1, keepdim=True)",
            "dmasked = s.weights * (dweights - (dmixed * s.mixed).sum(-1, keepdim=True))",  # FlashAttention's
        ],
        "dscores = dmasked.tril()": ["dscores = dmasked.clone()"],
        "dq = scale * dscores @ s.k": ["dq = (dscores @ s.k) * scale"],
    },
    "conv1d": {
        "dbias = da.sum((0, 2)).unsqueeze(1)": [
            "dbias = sum(da.movedim(1, 2).flatten(0, 1))[:, None]",
            "dbias = da.sum(2).sum(0)[:, None]",
        ],
        'dweight = torch.einsum("not,nitk->oik", da, s.windows)': [
            "dweight = (da.mT[:, :, :, None, None] * s.windows.movedim(2, 1)[:, :, None]).sum((0, 1))",
            'dweight = sum(torch.einsum("ot,itk->oik", a, w) for a, w in zip(da, s.windows))',
        ],
        "dx = dpadded[..., taps // 2 : taps // 2 + length]": [
            "dx = functional.conv1d(da, s.weight.transpose(0, 1).flip(-1), padding=taps // 2)",
        ],
    },
    "gelu_block": {
        "db1 = da.sum(0)": ["db1 = sum(da)", "db1 = torch.ones_like(da[:, 0]) @ da"],
        "dW2 = s.g.T @ dout": ["dW2 = (s.g[:, :, None] * dout[:, None]).sum(0)"],
        "dinner = (1 - s.t**2) * dt": ["dinner = (1 + s.t) * (1 - s.t) * dt", "dinner = dt - s.t * s.t * dt"],
        "dx = dy + da @ s.W1.T": ["dx = torch.addmm(dy, da, s.W1.T)", "dx = da @ s.W1.T + dout"],
    },
    "ignored_labels": {
        "dlogits = dlogprobs + s.logprobs.exp() * dnorm": [
            "dlogits = s.logits.softmax(1) * dnorm + dlogprobs",
            "dlogits = dlogprobs + (s.logits - s.norm).exp() * dnorm",
        ],
        "dbias = dlogits.sum(0)": ["dbias = sum(dlogits)"],
        "dnorm = -dlogprobs.sum(1, keepdim=True)": ["dnorm = -dpicked"],
        "dtable = (dlogits.T @ s.emb).index_add(0, s.tokens, demb)": [
            "dtable = dlogits.T @ s.emb + torch.zeros_like(s.table).index_put((s.tokens,), demb, accumulate=True)",
        ],
    },
    "swiglu": {
        "dgate = s.sig * dact + s.sig * (1 - s.sig) * dsig": [
            "dgate = (s.sig + s.act * (1 - s.sig)) * dact",
            "dgate = s.sig * (1 + s.gate * (1 - s.sig)) * dact",
            "dgate = s.sig * dact + s.sig * torch.sigmoid(-s.gate) * dsig",
        ],
        "dx = dgate @ s.Wg.T + dup @ s.Wu.T": [
            "dx = torch.cat([dgate, dup], 1) @ torch.cat([s.Wg, s.Wu], 1).T",
        ],
        "dWu = s.x.T @ dup": ["dWu = sum(torch.outer(a, b) for a, b in zip(s.x, dup))"],
    },
    "lstm": {
        "dc = dstate[:, cells:] + (1 - s.tc**2) * dtc": [
            "dc = (1 - s.tc) * (1 + s.tc) * dtc + dstate[:, cells:]",
        ],
        "to_i = s.i * (1 - s.i) * di": ["to_i = (s.i - s.i * s.i) * di"],
        "db = dgates.sum(0)": ["db = sum(dgates)", "db = torch.ones_like(dgates[:, 0]) @ dgates"],
        "dWx = s.x.T @ dgates": ["dWx = sum(torch.outer(a, b) for a, b in zip(s.x, dgates))"],
    },
    "maxpool": {
        "dgain = (dy * s.peaks).sum((0, 2)).unsqueeze(1)": [
            "dgain = sum((dy * s.peaks).movedim(1, 2).flatten(0, 1))[:, None]",
            "dgain = (dy * s.peaks).sum(2).sum(0)[:, None]",
        ],
        "dr = torch.zeros_like(s.r).scatter_add(-1, s.winners, dpeaks)": [
            "dr = (torch.nn.functional.one_hot(s.winners, s.r.shape[-1]) * dpeaks[..., None]).sum(-2)",
        ],
        "dx = dr * (s.x > 0)": ["dx = torch.where(s.x > 0, dr, torch.zeros_like(dr))"],
    },
}
