// Causal attention, each row over its ancestors in the tree of prefixes and itself. For each head:
//
//   score_ra = q_r . k_a / sqrt(d)        P_r = softmax of score_r over the ancestors a        o_r = sum_a P_ra v_a
//
// Backward, with dP_ra = do_r . v_a:
//
//   dscore_ra = P_ra (dP_ra - sum_b dP_rb P_rb)
//   dq_r = sum_a dscore_ra k_a / sqrt(d)
//   dk_a = sum_r dscore_ra q_r / sqrt(d)      dv_a = sum_r P_ra do_r      over the rows r that continue a, or are it
//
// The rows that continue a row follow it directly, so the last two sums read from front to back, and each row's is made by one thread. An
// ancestor is known by its position j. P lies (heads, positions, rows): rows along the lanes, so that the softmax is made of plain vector
// operations. A lane whose row does not reach position j has P = 0 there.
#pragma once
#include "../kernel/elementary.hpp"
#include "kernel.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

// Matrices of rows are given by heads: (heads * head strips, rows, 16).
struct Attention {
    const Prefixes &batch;
    int heads, head_strips;
    std::ptrdiff_t strip;
    std::ptrdiff_t of_position, of_head;  // from one position of probs or dscores to the next, and from one head to the next
    float scale;                          // 1 / sqrt(d)

    Attention(const TransformerMemory &memory, const Prefixes &batch)
        : batch(batch), heads(memory.shape.heads), head_strips(memory.shape.head_strips), strip(memory.strip),
          of_position(batch.ancestor_room), of_head(of_position * memory.positions),
          scale(1.0f / __builtin_sqrtf(float(memory.shape.width / memory.shape.heads))) {}
};

// How many positions the rows first..first + width have between them.
INLINE int positions_of(const Prefixes &batch, int first) {
    int deepest = 0;
    for (int i = 0; i < width; ++i) deepest = batch.depth[first + i] > deepest ? batch.depth[first + i] : deepest;
    return deepest + 1;
}

// to (heads, positions, rows): a_r . b_c for the rows r = first..first + width and their ancestors c, of each head.
INLINE void products_with_ancestors(const Attention &attention, const float *a, const float *b, int first, int positions, float *to) {
    const float *const rows = a + std::ptrdiff_t(first) * strip_width;
    for (int j = 0; j < positions; ++j) {
        const int *const ancestors = attention.batch.ancestor + j * attention.of_position + first;
        std::ptrdiff_t at[width];
        UNROLL for (int i = 0; i < width; ++i) at[i] = std::ptrdiff_t(ancestors[i]) * strip_width;
        for (int head = 0; head < attention.heads; ++head) {
            Vector sums[width] = {};
            for (int s = head * attention.head_strips; s < (head + 1) * attention.head_strips; ++s) {
                const float *const left = rows + s * attention.strip, *const right = b + s * attention.strip;
                UNROLL for (int p = 0; p < strip_width; p += width)
                    UNROLL for (int i = 0; i < width; ++i)
                        sums[i] = load_vector(left + i * strip_width + p) * load_vector(right + at[i] + p) + sums[i];
            }
            store_vector(to + head * attention.of_head + j * attention.of_position + first, sums_of_lanes(sums));
        }
    }
}

// The scores of one head and of as many rows as there are lanes become P: scores[j * of_position], for the positions j.
INLINE void softmax(const Attention &attention, const Bits &depth, int positions, float *scores) {
    const Vector none = -__builtin_inff() - Vector{};
    Vector most = none;
    for (int j = 0; j < positions; ++j) {
        float *const to = scores + j * attention.of_position;
        const Vector score = j - Bits{} > depth ? none : attention.scale * load_vector(to);
        store_vector(to, score);
        most = larger(score, most);
    }
    Vector sum{};
    for (int j = 0; j < positions; ++j) {
        float *const to = scores + j * attention.of_position;
        const Vector count = exp_of_negative(load_vector(to) - most);
        store_vector(to, count);
        sum += count;
    }
    const Vector inverse = 1.0f / sum;
    for (int j = 0; j < positions; ++j) {
        float *const to = scores + j * attention.of_position;
        store_vector(to, load_vector(to) * inverse);
    }
}

// dP becomes dscore, laid out in the same way.
INLINE void softmax_backward(const Attention &attention, int positions, const float *probs, float *dscores) {
    Vector sum{};
    for (int j = 0; j < positions; ++j) sum += load_vector(dscores + j * attention.of_position) * load_vector(probs + j * attention.of_position);
    for (int j = 0; j < positions; ++j) {
        float *const to = dscores + j * attention.of_position;
        store_vector(to, load_vector(probs + j * attention.of_position) * (load_vector(to) - sum));
    }
}

// ---- sums over ancestors, and over what continues a row ----------------------------------------------------------------

// Strips that are summed up side by side, so that one addition need not wait for the other.
constexpr int strips_together = 4;

// out_r = scale * sum over r's ancestors a of weights_ra b_a: `strips` strips from number `first` on.
template <int strips>
INLINE void sum_over_ancestors(const Attention &attention, const float *weights, const float *b, float scale, int r, int first, float *out) {
    const float *of[strips];
    UNROLL for (int s = 0; s < strips; ++s) of[s] = weights + (first + s) / attention.head_strips * attention.of_head + r;
    Strip sums[strips] = {};
    for (int j = 0; j <= attention.batch.depth[r]; ++j) {
        const std::ptrdiff_t at = j * attention.of_position;
        const float *const from = b + first * attention.strip + std::ptrdiff_t(attention.batch.ancestor[at + r]) * strip_width;
        UNROLL for (int s = 0; s < strips; ++s) sums[s] = of[s][at] * load(from + s * attention.strip) + sums[s];
    }
    UNROLL for (int s = 0; s < strips; ++s) store(out + (first + s) * attention.strip + std::ptrdiff_t(r) * strip_width, scale * sums[s]);
}

INLINE void sums_over_ancestors(const Attention &attention, const float *weights, const float *b, float scale, Span rows, float *out) {
    const int all = attention.heads * attention.head_strips;
    for (int r = rows.first; r < rows.last; ++r) {
        int s = 0;
        for (; s + strips_together <= all; s += strips_together) sum_over_ancestors<strips_together>(attention, weights, b, scale, r, s, out);
        for (; s < all; ++s) sum_over_ancestors<1>(attention, weights, b, scale, r, s, out);
    }
}

// out_a = scale * sum of weights_ra b_r over the rows r that continue a, or are it, in the same way.
template <int strips>
INLINE void sum_over_descendants(const Attention &attention, const float *weights, const float *b, float scale, int a, int first, float *out) {
    const float *of[strips];
    UNROLL for (int s = 0; s < strips; ++s)
        of[s] = weights + (first + s) / attention.head_strips * attention.of_head + attention.batch.depth[a] * attention.of_position;
    Strip sums[strips] = {};
    for (int r = a; r < attention.batch.end[a]; ++r) {
        const float *const from = b + first * attention.strip + std::ptrdiff_t(r) * strip_width;
        UNROLL for (int s = 0; s < strips; ++s) sums[s] = of[s][r] * load(from + s * attention.strip) + sums[s];
    }
    UNROLL for (int s = 0; s < strips; ++s) store(out + (first + s) * attention.strip + std::ptrdiff_t(a) * strip_width, scale * sums[s]);
}

INLINE void sums_over_descendants(const Attention &attention, const float *weights, const float *b, float scale, Span rows, float *out) {
    const int all = attention.heads * attention.head_strips;
    for (int a = rows.first; a < rows.last; ++a) {
        int s = 0;
        for (; s + strips_together <= all; s += strips_together) sum_over_descendants<strips_together>(attention, weights, b, scale, a, s, out);
        for (; s < all; ++s) sum_over_descendants<1>(attention, weights, b, scale, a, s, out);
    }
}

// ---- the rule ----------------------------------------------------------------------------------------------------------

// Rows from a multiple of 16 on, up to one, or to the last.
INLINE void attention_forward(const Attention &attention, const float *q, const float *k, const float *v, Span rows, float *probs, float *out) {
    for (int first = rows.first; first < rows.last; first += width) {
        const int positions = positions_of(attention.batch, first);
        products_with_ancestors(attention, q, k, first, positions, probs);
        Bits depth;
        __builtin_memcpy(&depth, attention.batch.depth + first, sizeof depth);
        for (int head = 0; head < attention.heads; ++head) softmax(attention, depth, positions, probs + head * attention.of_head + first);
    }
    sums_over_ancestors(attention, probs, v, 1, rows, out);
}

// dscores and dq, of such rows.
INLINE void attention_backward_rows(const Attention &attention, const float *k, const float *v, const float *probs, const float *dout, Span rows,
                                    float *dscores, float *dq) {
    for (int first = rows.first; first < rows.last; first += width) {
        const int positions = positions_of(attention.batch, first);
        products_with_ancestors(attention, dout, v, first, positions, dscores);
        for (int head = 0; head < attention.heads; ++head)
            softmax_backward(attention, positions, probs + head * attention.of_head + first, dscores + head * attention.of_head + first);
    }
    sums_over_ancestors(attention, dscores, k, attention.scale, rows, dq);
}

// dk and dv, of any rows, when dscores are there of all.
INLINE void attention_backward_ancestors(const Attention &attention, const float *q, const float *probs, const float *dout, const float *dscores,
                                         Span rows, float *dk, float *dv) {
    sums_over_descendants(attention, dscores, q, attention.scale, rows, dk);
    sums_over_descendants(attention, probs, dout, 1, rows, dv);
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
