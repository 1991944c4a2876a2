// The head and the loss, forward and back in one: logits = x @ W, and cross-entropy over the cells.
//
//   p = softmax(logits_r)        loss = -1/cells sum over the cells of log p[target]
//   dlogits_r = 1/cells (cells of r * p - how many of them have each target)
//
// A row is a prefix: its cells share p, and each brings its own target.
#pragma once
#include "../kernel/elementary.hpp"
#include "kernel.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

INLINE float largest_lane(const Strip &s) {
    alignas(64) float values[strip_width];
    store(values, s);
    float most = values[0];
    for (float value : values) most = value > most || value != value ? value : most;
    return most;
}

// logits of a row, strips `strip` floats apart, become dlogits. Returns the sum of the losses of its cells.
INLINE double cross_entropy(const TransformerShape &shape, const Prefixes &batch, int row, std::ptrdiff_t strip, float *logits) {
    const int first_target = batch.first_target[row], end = batch.first_target[row + 1];
    const auto at = [&](int v) -> float & { return logits[v / strip_width * strip + v % strip_width]; };
    for (int v = shape.symbols; v < shape.logit_strips * strip_width; ++v) at(v) = -__builtin_inff();
    Strip maxes = load(logits);
    for (int s = 1; s < shape.logit_strips; ++s) maxes = larger(load(logits + s * strip), maxes);
    const float most = largest_lane(maxes);

    double loss = 0;
    for (int i = first_target; i < end; ++i) loss -= at(batch.target[i]) - most;
    Strip sums = fill(0);
    for (int s = 0; s < shape.logit_strips; ++s) {
        const Strip counts = apply([](Vector x) { return exp_of_negative(x); }, load(logits + s * strip) - most);
        store(logits + s * strip, counts);
        sums = sums + counts;
    }
    const float total = float(sum(sums)), cells = float(end - first_target), mean = 1.0f / float(batch.cells);
    loss += double(cells) * log_of_large(total - Vector{})[0];
    for (int s = 0; s < shape.logit_strips; ++s) store(logits + s * strip, load(logits + s * strip) * (cells * mean / total));
    for (int i = first_target; i < end; ++i) at(batch.target[i]) -= mean;
    return loss;
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
