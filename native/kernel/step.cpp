// One training step, in the order of the rules. Compiled once for each instruction set, in a namespace of its own.
#include "batchnorm.hpp"
#include "cross_entropy.hpp"
#include "embedding.hpp"
#include "linear.hpp"
#include "multiply_adds.hpp"
#include "tanh.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {
namespace {

// From emb to h, strip by strip. `block` as in linear1. The next strip's products stand between this strip's statistics and their first
// use, which is thus spared the wait for a square root and a division.
template <int block>
void hidden_forward(const Shape &shape, const Parameters &read, const Batch &batch, const Workspace &work, int contexts) {
    const int strips = strips_of(shape.hidden);
    const auto table = [&](int strip) {
        const std::ptrdiff_t unit = std::ptrdiff_t(strip) * strip_width;
        float *const pair_sums = work.pair_sums + std::ptrdiff_t(strip % 2) * batch.pair_room * strip_width;
        pair_table(shape, read.W1 + unit * shape.block * shape.embedding, read.b1 + unit, batch, work.emb, pair_sums);
        return pair_sums;
    };
    const float *pair_sums = table(0);
    for (int strip = 0; strip < strips; ++strip) {
        const std::ptrdiff_t unit = std::ptrdiff_t(strip) * strip_width, values = unit * batch.context_room;
        float *const bnraw = work.bnraw + values, *const h = work.h + values;
        const Statistics statistics = batchnorm_statistics(
            shape, batch, contexts, [&](int i) { return linear1<block>(shape, batch, pair_sums, i); }, bnraw);
        store(work.bnvar_inv + unit, statistics.bnvar_inv);
        if (strip + 1 < strips) pair_sums = table(strip + 1);
        batchnorm(statistics, contexts, read.bngain + unit, read.bnbias + unit, [](const Strip &hpreact) { return tanh(hpreact); }, bnraw, h);
    }
}

// From dh to dhprebn, one hidden strip.
void hidden_backward(const Shape &shape, const Parameters &read, const Parameters &write, const Batch &batch, const Workspace &work, int contexts,
                     int strip, float rate) {
    const std::ptrdiff_t unit = std::ptrdiff_t(strip) * strip_width, values = unit * batch.context_room;
    const float *const h = work.h + values;
    float *const dh = work.dh + values;
    batchnorm_backward(
        shape, batch, contexts, read.bngain + unit, work.bnraw + values, work.bnvar_inv + unit,
        [&](int i) { return tanh_backward(load(dh + i * strip_width), load(h + i * strip_width)); }, dh, write.bngain + unit, write.bnbias + unit,
        write.b1 + unit, rate);
}

float step(const Shape &shape, const Parameters &read, const Parameters &write, const Batch &batch, const Workspace &work, float rate) {
    const int strips = strips_of(shape.hidden);
    const int contexts = (batch.contexts + 3) / 4 * 4;  // whole groups of four; the rows added repeat context 0 and count as nothing

    // Forward. Up to h, a hidden strip goes its way alone, and its values stay in the first-level cache.
    embed(shape, read.C, batch, work.emb);
    const auto hidden = shape.block == 3 ? hidden_forward<3> : hidden_forward<0>;
    hidden(shape, read, batch, work, contexts);
    linear2(shape, batch, contexts, read.W2, read.b2, work.h, work.logits);

    // Backward. Each gradient is used up as soon as it is whole, and each parameter is updated once nothing reads it any more.
    const float loss = cross_entropy(shape, batch, work.logits, work.logit_maxes, write.b2, rate);
    linear2_backward(shape, batch, contexts, work.logits, work.h, read.W2, work.dh, write.W2, rate);
    for (int strip = 0; strip < strips; ++strip) {
        hidden_backward(shape, read, write, batch, work, contexts, strip, rate);
    }
    linear1_backward(shape, batch, work.dh, work.dpairs);
    embedding_backward(shape, read.W1, batch, work.dpairs, work.dC);
    update_W1(shape, batch, work.emb, work.dpairs, write.W1, rate);
    update_C(shape, batch, work.dC, write.C, rate);
    return loss;
}

}  // namespace

extern const Kernel kernel;
const Kernel kernel = {KERNEL_NAME, step, multiply_adds, on_array<tanh>, on_array<exp_of_negative>, on_array<log_of_large>};

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
