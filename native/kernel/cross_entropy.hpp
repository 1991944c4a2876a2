// Cross-entropy of a strip of 16 contexts, forward and back in one step.
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

// `shares` are the groups' sums of h @ W2 that are left to be added up (kernel.hpp), (context strips, symbols, 16) each: the
// contexts along the lanes, so that maxima and sums over the symbols are plain vector operations, with nothing to add up
// across a register. The share of group 0 becomes logits, and dlogits, in place. Returns the sum of the losses of its examples.
INLINE double cross_entropy(const Shape &shape, const Batch &batch, const Part &part, const float *b2, float *const *shares, float *logit_maxes,
                            int strip) {
    const std::ptrdiff_t first = std::ptrdiff_t(strip) * shape.symbols * strip_width;
    float *const logits = shares[0] + first;
    const int symbols = shape.symbols;
    const auto at = [=](int v) { return logits + std::ptrdiff_t(v) * strip_width; };

    for (int i = 0; i < part.between_count; ++i) {
        float *const to = shares[part.between[i].to] + first, *const from = shares[part.between[i].from] + first;
        for (std::ptrdiff_t v = 0; v < std::ptrdiff_t(symbols) * strip_width; v += strip_width) store(to + v, load(to + v) + load(from + v));
    }
    Strip maxes = fill(-__builtin_inff());
    for (int v = 0; v < symbols; ++v) {
        const Strip row = load(at(v)) + b2[v];
        store(at(v), row);
        maxes = larger(row, maxes);
    }
    store(logit_maxes + strip * strip_width, maxes);

    // loss = sum_i (log counts_sum_i - norm_logits[i, Yb[i]]): the second term first, while the logits are there.
    double loss = 0;
    const auto for_examples = [&](auto visit) {
        for (int i = batch.first_example[strip]; i < batch.first_example[strip + 1]; ++i) {
            const int e = batch.example_by_strip[i], context = batch.context_of[e];
            visit(at(batch.target[e]) + context % strip_width, logit_maxes[context]);
        }
    };
    for_examples([&](const float *right, float most) { loss -= *right - most; });

    Strip counts_sum = fill(0);
    for (int first = 0; first < symbols; first += 64) {  // sums of sums: rounding grows with 64 + symbols / 64 terms, not with all
        Strip some = fill(0);
        for (int v = first; v < symbols && v < first + 64; ++v) {
            const Strip counts = apply([](Vector x) { return exp_of_negative(x); }, load(at(v)) - maxes);
            store(at(v), counts);
            some = some + counts;
        }
        counts_sum = counts_sum + some;
    }
    const Strip count = load(batch.count + strip * strip_width);
    loss += sum(count * apply([](Vector x) { return log_of_large(x); }, counts_sum));

    const float mean = 1.0f / batch.examples;
    const Strip scale = count / counts_sum * mean;
    for (int v = 0; v < symbols; ++v) store(at(v), load(at(v)) * scale);
    for_examples([&](float *right, float) { *right -= mean; });
    return loss;
}

// b2 -= rate * db2, with db2 = the sum of dlogits over the contexts, of the symbols first..last, as far as there are so many:
// `width` symbols add up their lanes together.
INLINE void update_b2(const Shape &shape, const Batch &batch, const float *dlogits, float *b2, float rate, int first, int last) {
    const std::ptrdiff_t strip = std::ptrdiff_t(shape.symbols) * strip_width;
    if (last > shape.symbols) last = shape.symbols;
    for (int v = first; v < last; v += width) {
        Vector db2[width] = {};
        for (int j = 0; j < width && v + j < last; ++j)
            for (int s = 0; s < strips_of(batch.contexts); ++s)
                UNROLL for (int p = 0; p < parts; ++p) db2[j] += load_vector(dlogits + s * strip + std::ptrdiff_t(v + j) * strip_width + p * width);
        store_vector(b2 + v, load_vector(b2 + v) - rate * sums_of_lanes(db2));
    }
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
