from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.OTHER_FORWARD_PASS,
    title="It is the derivative of a different forward pass",
    what="1 - h where tanh wants 1 - h**2, a power of -1/2 for -3/2, the biased variance for the unbiased one.",
    why="The shapes fit, and where the numbers are near each other a loose tolerance passes it.",
    mend="Derive the line again from the forward pass as it is written, not as it is remembered.",
    example="""
var = torch.tensor([[1.0, 4.0, 16.0]], requires_grad=True)
diff = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 4.0, 2.0]], requires_grad=True)

inv = var**-0.5
y = diff * inv
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    ddiff = inv * dy
    dinv = (diff * dy).sum(0, keepdim=True)
    dvar = -0.5 * var**-0.5 * dinv  # right: dvar = -0.5 * var**-1.5 * dinv

report = check(loss, locals())
""",
)
