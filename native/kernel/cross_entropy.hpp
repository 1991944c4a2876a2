// Cross-entropy, forward and back in one step, for a strip of 16 contexts.
//
//   logit_maxes  = row maximum of logits            counts = exp(logits - logit_maxes)
//   probs        = counts / sum of counts           loss   = -1/n sum_i log probs[i, Yb[i]]
//   dlogits      = (probs - onehot(Yb)) / n
//
// dlogits sums to zero over the symbols: what pulls the right symbol up is what pushes the others down. A row is a distinct
// context: its examples share probs, and each brings its own onehot(Yb), so dlogits = (count * probs - hits) / n.
#pragma once
#include "elementary.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

// logits (context strips, symbols, 16) have the contexts along the lanes: maxima and sums over the symbols are plain vector
// operations, with nothing to add up across a register. They become dlogits in place. Returns the loss, and updates b2.
INLINE float cross_entropy(const Shape &shape, const Batch &batch, float *logits, float *logit_maxes, float *b2, float rate) {
    const std::ptrdiff_t strip = std::ptrdiff_t(shape.symbols) * strip_width;
    const int strips = strips_of(batch.contexts), symbols = shape.symbols;
    const auto at = [=](int s, int v) { return logits + s * strip + std::ptrdiff_t(v) * strip_width; };
    const auto right = [=](int e) {  // the logit of example e's next symbol
        return at(batch.context_of[e] / strip_width, batch.target[e]) + batch.context_of[e] % strip_width;
    };

    // loss = 1/n sum_i (log counts_sum_i - norm_logits[i, Yb[i]]): the second term first, while the logits are there.
    for (int s = 0; s < strips; ++s) {
        Strip maxes = load(at(s, 0));
        for (int v = 1; v < symbols; ++v) maxes = larger(maxes, load(at(s, v)));
        store(logit_maxes + s * strip_width, maxes);
    }
    double loss = 0;
    for (int e = 0; e < batch.examples; ++e) loss -= *right(e) - logit_maxes[batch.context_of[e]];

    for (int s = 0; s < strips; ++s) {
        const Strip maxes = load(logit_maxes + s * strip_width), count = load(batch.count + s * strip_width);
        Strip counts_sum = fill(0);
        for (int first = 0; first < symbols; first += 64) {  // sums of sums: rounding grows with 64 + symbols / 64 terms, not with all
            Strip some = fill(0);
            for (int v = first; v < symbols && v < first + 64; ++v) {
                const Strip counts = apply([](Vector x) { return exp_of_negative(x); }, load(at(s, v)) - maxes);
                store(at(s, v), counts);
                some = some + counts;
            }
            counts_sum = counts_sum + some;
        }
        loss += sum(count * apply([](Vector x) { return log_of_large(x); }, counts_sum));
        const Strip scale = count / counts_sum;
        for (int v = 0; v < symbols; ++v) store(at(s, v), load(at(s, v)) * scale);
    }
    for (int e = 0; e < batch.examples; ++e) *right(e) -= 1;

    // dlogits, and b2 -= rate * db2, with db2 = the sum of dlogits over the contexts: `width` symbols add up their lanes together.
    const float mean = 1.0f / batch.examples;
    for (int first = 0; first < symbols; first += width) {
        Vector db2[width] = {};
        for (int j = 0; j < width && first + j < symbols; ++j)
            for (int s = 0; s < strips; ++s) {
                const Strip dlogits = load(at(s, first + j)) * mean;
                store(at(s, first + j), dlogits);
                UNROLL for (int p = 0; p < parts; ++p) db2[j] += dlogits.part[p];
            }
        store_vector(b2 + first, load_vector(b2 + first) - rate * sums_of_lanes(db2));
    }
    return float(loss / batch.examples);
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
