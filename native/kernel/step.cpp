// One training step, in the order of the rules, a part of it a call. Compiled once for each instruction set, in a namespace of its own.
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
void hidden_forward(const Shape &shape, const Parameters &read, const Batch &batch, const Workspace &work, int contexts, int first, int last) {
    const auto table = [&](int strip) {
        const std::ptrdiff_t unit = std::ptrdiff_t(strip) * strip_width;
        float *const pair_sums = work.pair_sums + std::ptrdiff_t(strip % 2) * batch.pair_room * strip_width;
        pair_table(shape, read.W1 + unit * shape.block * shape.embedding, read.b1 + unit, batch, work.emb, pair_sums);
        return pair_sums;
    };
    const float *pair_sums = table(first);
    for (int strip = first; strip < last; ++strip) {
        const std::ptrdiff_t unit = std::ptrdiff_t(strip) * strip_width, values = unit * batch.context_room;
        float *const bnraw = work.bnraw + values, *const h = work.h + values;
        const Statistics statistics = batchnorm_statistics(
            shape, batch, contexts, [&](int i) { return linear1<block>(shape, batch, pair_sums, i); }, bnraw);
        store(work.bnvar_inv + unit, statistics.bnvar_inv);
        if (strip + 1 < last) pair_sums = table(strip + 1);
        batchnorm(statistics, contexts, read.bngain + unit, read.bnbias + unit, [](const Strip &hpreact) { return tanh(hpreact); }, bnraw, h);
        turn_contexts(h, batch.contexts, work.dh + values);
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

// Whole groups of four; the rows added repeat context 0 and count as nothing.
int in_fours(int contexts) { return (contexts + 3) / 4 * 4; }

// A part's share of n strips that belong to nobody.
struct Share {
    Share(const Part &part, int n)
        : first(int(std::ptrdiff_t(n) * part.number / part.parts)), last(int(std::ptrdiff_t(n) * (part.number + 1) / part.parts)) {}
    int first, last;
};

// Up to h a hidden strip goes its way alone, and its values stay in the first-level cache.
void forward(const Shape &shape, const Parameters &read, const Batch &batch, const Workspace &work, const Part &part) {
    embed(shape, work.C, batch, work.emb);
    const auto hidden = shape.block == 3 ? hidden_forward<3> : hidden_forward<0>;
    hidden(shape, read, batch, work, in_fours(batch.contexts), part.first_strip[part.first_group], part.first_strip[part.last_group]);
    linear2(shape, batch, part, read.W2, work.dh, work.logits);
}

void loss(const Shape &shape, const Parameters &read, const Batch &batch, const Workspace &work, const Part &part) {
    const Share share(part, strips_of(batch.contexts));
    for (int strip = share.first; strip < share.last; ++strip)
        work.losses[strip] = cross_entropy(shape, batch, part, read.b2, work.logits, work.logit_maxes, strip);
}

// Each gradient is used up as soon as it is whole, and each parameter is updated once nothing reads it any more.
void backward(const Shape &shape, const Parameters &read, const Parameters &write, const Batch &batch, const Workspace &work, const Part &part,
              float rate) {
    const int first = part.first_strip[part.first_group], last = part.first_strip[part.last_group], contexts = in_fours(batch.contexts);
    const float *const dlogits = work.logits[0];
    const Share symbols(part, strips_of(shape.symbols));
    update_b2(shape, batch, dlogits, write.b2, rate, symbols.first * strip_width, symbols.last * strip_width);
    // Few strips at a time, so that they stay in the first-level cache; all, where that would bring all of many dlogits for each.
    const int together = shape.symbols > symbols_at_once ? last - first : strips_at_once;
    for (int strip = first; strip < last; strip += together) {
        const int end = last - strip < together ? last : strip + together;
        linear2_backward(shape, batch, contexts, dlogits, work.h, read.W2, work.dh, write.W2, rate, strip, end);
        for (int s = strip; s < end; ++s) hidden_backward(shape, read, write, batch, work, contexts, s, rate);
        linear1_backward(shape, batch, work.dh, work.dpairs, strip, end);
    }
    embedding_backward(shape, read.W1, batch, work.dpairs, work.demb, part);
    update_W1(shape, batch, work.emb, work.dpairs, write.W1, rate, first, last);
}

void update_embedding(const Shape &shape, float *C, const Batch &batch, const Workspace &work, const Part &part, float rate) {
    update_C(shape, batch, part, work.demb, C, rate);
}

}  // namespace

extern const Kernel kernel;
const Kernel kernel = {KERNEL_NAME, forward, loss, backward, update_embedding, multiply_adds, on_array<tanh>, on_array<exp_of_negative>, on_array<log_of_large>};

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
