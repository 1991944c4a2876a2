from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.ROWS_LEFT_OUT,
    title="Some rows, or a last partial tile, are left out",
    what="The gradient of some rows was never computed, or a sum lacks their terms; everything else is right.",
    why=(
        "A kernel works through tiles of four rows; nobody wrote the last one, which is shorter. With a batch of 32 "
        "nothing is to be seen."
    ),
    mend="Let the loop take the last, shorter tile too, and try sizes that no tile divides.",
    example="""
x = torch.arange(1.0, 21.0).reshape(10, 2).requires_grad_()
gain = torch.tensor([2.0, -1.0], requires_grad=True)

y = gain * x
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dgain = (dy * x).sum(0)
    dx = torch.zeros_like(x)
    for start in range(0, len(x) // 4 * 4, 4):  # right: for start in range(0, len(x), 4):
        dx[start : start + 4] = dy[start : start + 4] * gain

report = check(loss, locals())
""",
)
