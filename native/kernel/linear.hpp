// The two linear layers. The rule, for O = a @ b + c:
//
//   da = dO @ b^T      db = a^T @ dO      dc = sum over the rows of dO
//
// Layer 1:  hprebn = embcat @ W1 + b1     embcat (contexts, block * embedding), W1 (block * embedding, H)
// Layer 2:  logits = h @ W2 + b2          h (contexts, H), W2 (H, symbols)
#pragma once
#include "product.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

// ---- layer 1, by distinct pairs -----------------------------------------------------------------------------------------
//
// embcat @ W1 = sum over the positions of C[x_position] @ W1[position], so a row of this sum, a pair's, is needed once however
// many contexts have the pair. Forward: a table with a row for each pair, then `block` rows added for each context.
// Backward: dhprebn added into the rows of the pairs, then one product with the table in place of one with embcat.

// pair_sums (pairs, 16) = emb @ W1[position], one hidden strip; b1 comes in with position 0, since each context has it once.
INLINE void pair_table(const Shape &shape, const float *W1_strip, const float *b1_strip, const Batch &batch, const float *emb,
                       float *pair_sums) {
    const std::ptrdiff_t part = std::ptrdiff_t(shape.embedding) * strip_width;
    for (int position = 0; position < shape.block; ++position) {
        const Strip first = position == 0 ? load(b1_strip) : fill(0);
        const int end = batch.pair_end[position];
        for (int q = batch.pair_begin[position]; q < end; q += strip_width)
            product_by_lane<false>(end - q < strip_width ? end - q : strip_width, emb + q / strip_width * part, W1_strip + position * part,
                                   shape.embedding, first, pair_sums + std::ptrdiff_t(q) * strip_width);
    }
}

// hprebn of context i, one hidden strip: the sum of its pairs' rows. `block` is shape.block where known to the compiler, else 0.
template <int block>
INLINE Strip linear1(const Shape &shape, const Batch &batch, const float *pair_sums, int i) {
    const auto row = [&](int position) { return load(pair_sums + std::ptrdiff_t(batch.pair_of[std::ptrdiff_t(position) * batch.context_room + i]) * strip_width); };
    Strip sum = row(0);
    UNROLL for (int position = 1; position < block; ++position) sum = sum + row(position);
    for (int position = block > 1 ? block : 1; position < (block ? block : shape.block); ++position) sum = sum + row(position);
    return sum;
}

// dpairs[q, :] = sum of dhprebn over the contexts with pair q, `some` hidden strips at once: walking the list of a
// pair's contexts is one unforeseeable branch, which several strips share.
using SumByPair = void (*)(const Shape &, const Batch &, const float *dhprebn, float *dpairs);

template <int some>
void sum_by_pair(const Shape &shape, const Batch &batch, const float *dhprebn, float *dpairs) {
    const std::ptrdiff_t from_strip = std::ptrdiff_t(batch.context_room) * strip_width, to_strip = std::ptrdiff_t(batch.pair_room) * strip_width;
    for (int position = 0; position < shape.block; ++position) {
        const int *next = batch.next_context + std::ptrdiff_t(position) * batch.context_room;
        for (int q = batch.pair_begin[position]; q < batch.pair_end[position]; ++q) {
            Strip sums[some];
            int i = batch.first_context[q];
            UNROLL for (int s = 0; s < some; ++s) sums[s] = load(dhprebn + s * from_strip + std::ptrdiff_t(i) * strip_width);
            while ((i = next[i]) >= 0)
                UNROLL for (int s = 0; s < some; ++s)
                    sums[s] = sums[s] + load(dhprebn + s * from_strip + std::ptrdiff_t(i) * strip_width);
            UNROLL for (int s = 0; s < some; ++s) store(dpairs + s * to_strip + std::ptrdiff_t(q) * strip_width, sums[s]);
        }
    }
}

constexpr int strips_at_once = registers / 2 / parts;

template <int... Some>
INLINE SumByPair sum_by_pair_of(int some, Numbers<Some...>) {
    static constexpr SumByPair sums[] = {sum_by_pair<Some>...};
    return sums[some - 1];
}

INLINE void linear1_backward(const Shape &shape, const Batch &batch, const float *dhprebn, float *dpairs) {
    const std::ptrdiff_t from_strip = std::ptrdiff_t(batch.context_room) * strip_width, to_strip = std::ptrdiff_t(batch.pair_room) * strip_width;
    for_slices(strips_of(shape.hidden), strips_at_once, [&](int strip, int some) {
        sum_by_pair_of(some, typename NumbersTo<strips_at_once>::List{})(shape, batch, dhprebn + strip * from_strip, dpairs + strip * to_strip);
    });
}

// W1[position] -= rate * emb^T @ dpairs, all strips. dW1 itself exists only in registers.
INLINE void update_W1(const Shape &shape, const Batch &batch, const float *emb, const float *dpairs, float *W1, float rate) {
    const std::ptrdiff_t part = std::ptrdiff_t(shape.embedding) * strip_width;
    const std::ptrdiff_t dpairs_strip = std::ptrdiff_t(batch.pair_room) * strip_width;
    for (int strip = 0, strips = strips_of(shape.hidden); strip < strips; ++strip)
        for (int position = 0; position < shape.block; ++position) {
            const int q = batch.pair_begin[position];
            product_by_row(shape.embedding, emb + q / strip_width * part, part, dpairs + strip * dpairs_strip + std::ptrdiff_t(q) * strip_width,
                           batch.pair_end[position] - q, -rate, W1 + (std::ptrdiff_t(strip) * shape.block + position) * part);
        }
}

// ---- layer 2 ----------------------------------------------------------------------------------------------------------
//
// There are few symbols (27) and many hidden units and contexts: so the vectors run along those two, never along the symbols,
// and no lane is wasted on padding 27 to 32. One stored order of W2, (strips, symbols, 16), serves all three products.

// logits (context strips, symbols, 16) = (h @ W2 + b2)^T, the contexts along the lanes. The summed axis, the hidden units, is the one
// along which the vectors run in h and W2 alike: so a tile of 16 contexts x 14 symbols is summed by row products, and then transposed.
INLINE void linear2(const Shape &shape, const Batch &batch, int contexts, const float *W2, const float *b2, const float *h, float *logits) {
    constexpr int stretch = 16;  // strips of W2 at a time: 14 rows of them stay in the first-level cache while the contexts pass
    const std::ptrdiff_t W2_strip = std::ptrdiff_t(shape.symbols) * strip_width, h_strip = std::ptrdiff_t(batch.context_room) * strip_width;
    for (int strip = 0, strips = strips_of(shape.hidden); strip < strips; strip += stretch) {
        const int some_strips = strips - strip < stretch ? strips - strip : stretch;
        for_slices(shape.symbols, rows_together, [&](int v, int some) {
            for (int i = 0; i < contexts; i += strip_width) {
                alignas(64) float tile[strip_width * strip_width] = {};
                for (int j = 0; j < strip_width && i + j < contexts; j += 2)
                    row_products<2>(some, h + strip * h_strip + std::ptrdiff_t(i + j) * strip_width, h_strip,
                                    W2 + strip * W2_strip + std::ptrdiff_t(v) * strip_width, W2_strip, some_strips,
                                    {tile + j * strip_width, tile + (j + 1) * strip_width});
                float *const to = logits + i / strip_width * W2_strip + std::ptrdiff_t(v) * strip_width;
                alignas(64) float turned[strip_width * strip_width];
                transpose([&](int j) { return tile + j * strip_width; }, [&](int r) { return turned + r * strip_width; }, some);
                for (int r = 0; r < some; ++r) {
                    const Strip before = strip == 0 ? fill(b2[v + r]) : load(to + r * strip_width);
                    store(to + r * strip_width, load(turned + r * strip_width) + before);
                }
            }
        });
    }
}

// dh (contexts, 16) = dlogits @ W2^T and W2 -= rate * h^T @ dlogits. A tile of W2, one hidden strip of some symbols, is read by dh
// and updated at once, while it lies in the first-level cache. With many symbols dh is a sum of sums, whose rounding error
// grows more slowly than that of one long sum, and the slice of dlogits in use stays in the second-level cache.
INLINE void linear2_backward(const Shape &shape, const Batch &batch, int contexts, const float *dlogits, const float *h, const float *W2_read,
                             float *dh, float *W2_write, float rate) {
    constexpr int most = 112;
    const std::ptrdiff_t logits_strip = std::ptrdiff_t(shape.symbols) * strip_width, rows = std::ptrdiff_t(batch.context_room) * strip_width;
    for_slices(shape.symbols, most, [&](int v, int some) {
        const std::ptrdiff_t offset = std::ptrdiff_t(v) * strip_width;
        for (int strip = 0, strips = strips_of(shape.hidden); strip < strips; ++strip) {
            const float *W2 = W2_read + strip * logits_strip + offset;
            for (int i = 0; i < contexts; i += strip_width) {
                const int lanes = contexts - i < strip_width ? contexts - i : strip_width;
                const float *a = dlogits + i / strip_width * logits_strip + offset;
                float *out = dh + strip * rows + std::ptrdiff_t(i) * strip_width;
                if (v == 0)
                    product_by_lane<false>(lanes, a, W2, some, fill(0), out);
                else
                    product_by_lane<true>(lanes, a, W2, some, fill(0), out);
            }
            product_by_row(some, dlogits + offset, logits_strip, h + strip * rows, batch.contexts, -rate, W2_write + strip * logits_strip + offset);
        }
    });
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
