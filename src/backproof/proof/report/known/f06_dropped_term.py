from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.DROPPED_TERM,
    title="A term is dropped, or counted twice",
    what=(
        "A value with several readers gets a share of its gradient back through each of them. One share is missing, "
        "is there twice, or came too late."
    ),
    why=(
        "What is left has the right shape, and often nearly the right numbers. It is the most common fault in batch "
        "and layer normalisation."
    ),
    mend="List the lines of the forward pass that read the value, and add what flows back through each of them, once.",
    example="""
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)

diff = x - 1
sq = diff**2
size = sq.sum(1, keepdim=True)
y = diff * size
loss = (y * torch.tensor([[1.0, 2.0], [3.0, -1.0], [2.0, 4.0]])).sum()

with torch.no_grad():
    dy = torch.tensor([[1.0, 2.0], [3.0, -1.0], [2.0, 4.0]])
    dsize = (dy * diff).sum(1, keepdim=True)
    dsq = dsize.expand_as(sq)
    ddiff = dy * size  # right: ddiff = dy * size + 2 * diff * dsq
    dx = ddiff.clone()

report = check(loss, locals())
""",
)
