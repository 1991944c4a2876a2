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

// dpairs[q, :] = sum of dhprebn over the contexts with pair q, of as many hidden strips at once as hide what an addition waits for the one
// before. The contexts come sorted by their pairs, and each leaves the sum so far in its pair's row: no branch depends on how many a
// pair has, which nothing could foresee.
constexpr int strips_at_once = registers / 4 / parts;

using SumByPair = void (*)(const Shape &, const Batch &, const float *dhprebn, float *dpairs);

template <int strips>
void sum_by_pair(const Shape &shape, const Batch &batch, const float *dhprebn, float *dpairs) {
    const std::ptrdiff_t from_strip = std::ptrdiff_t(batch.context_room) * strip_width, to_strip = std::ptrdiff_t(batch.pair_room) * strip_width;
    for (int position = 0; position < shape.block; ++position) {
        const std::ptrdiff_t row = std::ptrdiff_t(position) * batch.context_room;
        Strip sums[strips] = {};
        for (int place = 0; place < batch.contexts; ++place) {
            const std::ptrdiff_t i = batch.by_pair[row + place], q = batch.pair_of[row + i];
            const Bits goes_on = batch.goes_on[row + place] - Bits{};
            UNROLL for (int s = 0; s < strips; ++s) {
                const Strip before = apply([&](Vector sum) { return reinterpret_cast<Vector>(reinterpret_cast<Bits>(sum) & goes_on); }, sums[s]);
                sums[s] = before + load(dhprebn + s * from_strip + i * strip_width);
                store(dpairs + s * to_strip + q * strip_width, sums[s]);
            }
        }
    }
}

template <int... Strips>
INLINE SumByPair sum_by_pair_of(int strips, Numbers<Strips...>) {
    static constexpr SumByPair sums[] = {sum_by_pair<Strips>...};
    return sums[strips - 1];
}

// Of the hidden strips first..last.
INLINE void linear1_backward(const Shape &shape, const Batch &batch, const float *dhprebn, float *dpairs, int first, int last) {
    const std::ptrdiff_t from_strip = std::ptrdiff_t(batch.context_room) * strip_width, to_strip = std::ptrdiff_t(batch.pair_room) * strip_width;
    for_slices(last - first, strips_at_once, [&](int strip, int some) {
        strip += first;
        sum_by_pair_of(some, typename NumbersTo<strips_at_once>::List{})(shape, batch, dhprebn + strip * from_strip, dpairs + strip * to_strip);
    });
}

// W1[position] -= rate * emb^T @ dpairs, of some strips. dW1 itself exists only in registers.
INLINE void update_W1(const Shape &shape, const Batch &batch, const float *emb, const float *dpairs, float *W1, float rate, int first, int last) {
    const std::ptrdiff_t part = std::ptrdiff_t(shape.embedding) * strip_width;
    const std::ptrdiff_t dpairs_strip = std::ptrdiff_t(batch.pair_room) * strip_width;
    for (int strip = first; strip < last; ++strip)
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
// What is summed over the hidden units comes from several threads, and is exchanged as few numbers: the logits, and not h.

// h of one hidden strip with its contexts along the lanes: (context strips, 16 hidden units, 16). Rows beyond the contexts are 0.
INLINE void turn_contexts(const float *h, int contexts, float *turned) {
    alignas(64) static constexpr float nothing[strip_width] = {};
    for (int i = 0; i < contexts; i += strip_width)
        transpose([&](int r) { return i + r < contexts ? h + std::ptrdiff_t(i + r) * strip_width : nothing; },
                  [&](int unit) { return turned + std::ptrdiff_t(i + unit) * strip_width; }, strip_width);
}

// A tile of logits, `R` symbols of 16 contexts, summed over the groups first..last: to = ((g0 + g1) + (g2 + g3)) + ...
struct LogitsTile {
    ByRow panel;
    int rows;
    const int *first_strip;
    const float *W2, *turned;
    std::ptrdiff_t W2_strip, turned_strip;
    int hidden;

    void sum(int first, int last, float *to, float *room) const {
        if (last - first > 1) {
            const int middle = first + (last - first) / 2;
            sum(first, middle, to, room);
            sum(middle, last, room, room + panel_rows * strip_width);
            for (int r = 0; r < rows * strip_width; r += strip_width) store(to + r, load(to + r) + load(room + r));
            return;
        }
        const int strip = first_strip[first], end = first_strip[last] * strip_width;
        panel(W2 + strip * W2_strip, W2_strip, turned + strip * turned_strip, turned_strip, (end < hidden ? end : hidden) - strip * strip_width, 1, to);
    }
};

// What a part's hidden units bring to logits (context strips, symbols, 16) = (h @ W2)^T: contexts along the lanes, and the units, which
// are summed over, one by one, so that those which pad the last strip cost nothing.
INLINE void linear2(const Shape &shape, const Batch &batch, const Part &part, const float *W2, const float *turned, float *const *logits) {
    const std::ptrdiff_t W2_strip = std::ptrdiff_t(shape.symbols) * strip_width, turned_strip = std::ptrdiff_t(batch.context_room) * strip_width;
    alignas(64) float room[most_halvings * panel_rows * strip_width];
    for_slices(shape.symbols, panel_rows, [&](int v, int rows) {
        for (int i = 0, strips = strips_of(batch.contexts); i < strips; ++i) {
            const LogitsTile tile = {panel_by_row_of<false>(rows), rows, part.first_strip, W2 + std::ptrdiff_t(v) * strip_width,
                                     turned + std::ptrdiff_t(i) * strip_width * strip_width, W2_strip, turned_strip, shape.hidden};
            for (int j = 0; j < part.left_count; ++j)
                tile.sum(part.left[j], j + 1 < part.left_count ? part.left[j + 1] : part.last_group,
                         logits[part.left[j]] + i * W2_strip + std::ptrdiff_t(v) * strip_width, room);
        }
    });
}

// dh (contexts, 16) = dlogits @ W2^T and W2 -= rate * h^T @ dlogits. A tile of W2, one hidden strip of some symbols, is read by dh
// and updated at once, while it lies in the first-level cache. With many symbols dh is a sum of sums, whose rounding error
// grows more slowly than that of one long sum, and the slice of dlogits in use stays in the second-level cache.
constexpr int symbols_at_once = 112;

INLINE void linear2_backward(const Shape &shape, const Batch &batch, int contexts, const float *dlogits, const float *h, const float *W2_read,
                             float *dh, float *W2_write, float rate, int first, int last) {
    const std::ptrdiff_t logits_strip = std::ptrdiff_t(shape.symbols) * strip_width, rows = std::ptrdiff_t(batch.context_room) * strip_width;
    for_slices(shape.symbols, symbols_at_once, [&](int v, int some) {
        const std::ptrdiff_t offset = std::ptrdiff_t(v) * strip_width;
        for (int strip = first; strip < last; ++strip) {
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
