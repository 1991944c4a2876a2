from backproof.proof.report.cause import Cause, Entry

ENTRY = Entry(
    Cause.WRONG_TENSOR,
    title="A gradient stands for a value, a value for a gradient, or one gradient for another",
    what="The formula is right, and one of its tensors is another one of the same shape.",
    why=(
        "Their names differ by one letter, and nothing complains. The line `dbndiff = dbnvar_inv * dhpreact` stood "
        "in a published notebook."
    ),
    mend=(
        "Ask of each factor: value or gradient, and whose? The upstream gradient is that of the line that reads the "
        "value."
    ),
    example="""
diff = torch.tensor([[1.0, 2.0, 4.0], [3.0, 4.0, -1.0], [-2.0, 5.0, 3.0]], requires_grad=True)
inv = torch.tensor([[0.5, 2.0, 4.0]], requires_grad=True)
gain = torch.tensor([[2.0, -1.0, 8.0]], requires_grad=True)

raw = diff * inv
y = gain * raw
loss = (y**2).sum()

with torch.no_grad():
    dy = 2 * y
    dgain = (raw * dy).sum(0, keepdim=True)
    draw = gain * dy
    dinv = (diff * draw).sum(0, keepdim=True)
    ddiff = dinv * dy  # right: ddiff = inv * draw

report = check(loss, locals())
""",
)
