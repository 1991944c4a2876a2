from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.OVERWRITTEN,
    title="Terms are overwritten where they must be accumulated",
    what="Several terms belong together in one place, and each of them overwrites the one before.",
    why=(
        "A row that is looked up twice gets two gradients. `dC[ix] = ...` keeps the last, and so does `dC[ix] += "
        "...`, which reads each row before it writes any. Rows that are looked up once are right."
    ),
    mend="Accumulate: `dC.index_add_(0, ix, demb)`, or `index_put_` with `accumulate=True`.",
    example="""
C = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
ix = torch.tensor([0, 2, 0, 1, 2])
weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, -1.0]])

emb = C[ix]
loss = (weight * emb).sum()

with torch.no_grad():
    demb = weight.clone()
    dC = torch.zeros_like(C)
    dC[ix] += demb  # right: dC.index_add_(0, ix, demb)

report = check(loss, locals())
""",
)
