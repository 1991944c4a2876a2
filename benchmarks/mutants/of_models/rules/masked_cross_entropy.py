"""Cross-entropy over the cells that count."""

LINES = {
    "live = (y != -1)[..., None]": [
        ("F14", "live = (y >= -1)[..., None]", "logprobs"),  # no mask
        ("F14", "live = (y > 0)[..., None]", "logprobs"),
    ],
    "share = torch.where(live, -dloss / live.sum().clamp(min=1), 0)": [
        ("F8", "share = torch.where(live, -dloss / y.numel(), 0)", "logprobs"),
        ("F8", "share = torch.where(live, -dloss / len(y), 0)", "logprobs"),
        ("F8", "share = torch.where(live, -dloss, 0)", "logprobs"),
        ("F8", "share = torch.where(live, -dloss / live.sum(1, keepdim=True), 0)", "logprobs"),
        ("F13", "share = torch.where(live, dloss / live.sum().clamp(min=1), 0)", "logprobs"),
    ],
    "dlogprobs = torch.zeros_like(s.logprobs).scatter_(2, y.clamp(min=0)[..., None], share)": [
        (
            "F10 | F14",
            "dlogprobs = torch.zeros_like(s.logprobs).scatter_(2, y.clamp(min=0).flip(1)[..., None], share)",
        ),
        ("F14", "dlogprobs = share.expand_as(s.logprobs)"),
    ],
    "dprobs = (1.0 / s.probs) * dlogprobs": [
        ("F16", "dprobs = dlogprobs.clone()"),
        ("F14", "dprobs = s.probs * dlogprobs"),
        ("F14", "dprobs = (1.0 / s.counts) * dlogprobs"),
        ("F13", "dprobs = (-1.0 / s.probs) * dlogprobs"),
    ],
    "dcounts_sum_inv = (s.counts * dprobs).sum(2, keepdim=True)": [
        ("F9", "dcounts_sum_inv = s.counts * dprobs"),
        ("F9", "dcounts_sum_inv = (s.counts * dprobs).sum(1, keepdim=True)"),
        ("F8", "dcounts_sum_inv = (s.counts * dprobs).mean(2, keepdim=True)"),
        ("F16", "dcounts_sum_inv = dprobs.sum(2, keepdim=True)"),
    ],
    "dcounts_sum = (-(s.counts_sum**-2)) * dcounts_sum_inv": [
        ("F13", "dcounts_sum = (s.counts_sum**-2) * dcounts_sum_inv"),
        ("F14", "dcounts_sum = (-(s.counts_sum**-1)) * dcounts_sum_inv"),
        ("F12", "dcounts_sum = (-2 * (s.counts_sum**-2)) * dcounts_sum_inv"),
        ("F16", "dcounts_sum = -dcounts_sum_inv"),
    ],
    "dcounts = s.counts_sum_inv * dprobs + torch.ones_like(s.counts) * dcounts_sum": [
        ("F6", "dcounts = s.counts_sum_inv * dprobs"),
        ("F6", "dcounts = torch.ones_like(s.counts) * dcounts_sum"),
        ("F13", "dcounts = s.counts_sum_inv * dprobs - torch.ones_like(s.counts) * dcounts_sum"),
        ("F16", "dcounts = dprobs + torch.ones_like(s.counts) * dcounts_sum"),
    ],
    "dnorm_logits = s.counts * dcounts": [
        ("F16", "dnorm_logits = dcounts.clone()"),
        ("F14", "dnorm_logits = s.norm_logits * dcounts"),
        ("F14 | F16", "dnorm_logits = s.probs * dcounts"),
        ("F15", "dnorm_logits = s.counts * dprobs"),
    ],
    "dlogit_maxes = (-dnorm_logits).sum(2, keepdim=True)": [
        ("F9", "dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)[:, :, :1].expand_as(s.logit_maxes)"),
    ],
    "dlogits = dnorm_logits.scatter_add(2, s.logits.max(2, keepdim=True).indices, dlogit_maxes)": [
        ("F11", "dlogits = dnorm_logits.scatter(2, s.logits.max(2, keepdim=True).indices, dlogit_maxes)"),
        ("F13", "dlogits = -dnorm_logits.scatter_add(2, s.logits.max(2, keepdim=True).indices, dlogit_maxes)"),
        ("F15", "dlogits = s.probs - dlogprobs"),
    ],
}

FUNCTIONS = {
    "share = torch.where(live, -dloss / live.sum().clamp(min=1), 0)": [
        ("F1", "share = torch.where(live, -torch.ones_like(dloss) / live.sum().clamp(min=1), 0)", "logprobs"),
        ("F8", "share = torch.where(live, -dloss / 17, 0)", "logprobs"),  # so many count in the first batch
    ],
    "dlogit_maxes = (-dnorm_logits).sum(2, keepdim=True)": [  # zero but for rounding, as long as dnorm_logits is right
        ("F13", "dlogit_maxes = dnorm_logits.sum(2, keepdim=True)"),
        ("F8", "dlogit_maxes = (-dnorm_logits).mean(2, keepdim=True)"),
    ],
}
