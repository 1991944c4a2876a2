from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.SWAPPED_OR_TRANSPOSED,
    title="Two gradients are swapped, or one is transposed",
    what="The gradient is that of a neighbouring value, or its dimensions stand in another order.",
    why="With a square matrix, or two values of one shape, the shapes give nothing away.",
    mend="Read the order of factors off the forward line: for `y = x @ W`, `dW` is `x.T @ dy`, and `dx` is `dy @ W.T`.",
    example="""
x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-2.0, 5.0]], requires_grad=True)
W = torch.tensor([[2.0, -1.0], [1.0, 3.0]], requires_grad=True)

y = x @ W
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dW = dy.T @ x  # right: dW = x.T @ dy
    dx = dy @ W.T

report = check(loss, locals())
""",
)
