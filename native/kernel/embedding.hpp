// emb = C[Xb], looked up once for each distinct (position, symbol) pair; and dC.
//
//   forward    emb[q, :] = C[symbol_of[q], :]
//   backward   demb[q, :] = dpairs[q, :] @ W1[position of q]^T
//              dC[s, :]   = sum over the pairs q with symbol s of demb[q, :]
//
// A batch of 32 contexts of 3 symbols has 96 places but only about 48 distinct pairs, since few letters make up most of a text.
#pragma once
#include "product.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

// emb is kept with the pairs along the lanes, (pair strips, embedding, 16): both products that read it (the pair table and dW1)
// take its numbers one by one, and need the pairs side by side. Beyond a position's last pair it repeats that pair.
INLINE void embed(const Shape &shape, const float *C, const Batch &batch, float *emb) {
    const std::ptrdiff_t C_row = strips_of(shape.embedding) * strip_width;
    for (int position = 0; position < shape.block; ++position)
        for (int q = batch.pair_begin[position], end = batch.pair_end[position]; q < end; q += strip_width)
            for (int k = 0; k < shape.embedding; k += strip_width) {
                const int columns = shape.embedding - k < strip_width ? shape.embedding - k : strip_width;
                float *const to = emb + (std::ptrdiff_t(q) / strip_width * shape.embedding + k) * strip_width;
                transpose([&](int i) { return C + batch.symbol_of[q + i < end ? q + i : end - 1] * C_row + k; },
                          [&](int j) { return to + j * strip_width; }, columns);
            }
}

// demb of some hidden strips, two pairs at a time: comes to `demb` (pairs, embedding padded), which is 0 before. The summed axis is the
// hidden units, along which the vectors run: so the strips are cut into stretches that keep a position's part of W1 in the
// second-level cache at any hidden size.
INLINE void embedding_backward(const Shape &shape, const float *W1, const Batch &batch, const float *dpairs, float *demb, int first, int last) {
    constexpr int stretch = 64;
    const std::ptrdiff_t row = strips_of(shape.embedding) * strip_width;
    const std::ptrdiff_t W1_strip = std::ptrdiff_t(shape.block) * shape.embedding * strip_width;
    const std::ptrdiff_t dpairs_strip = std::ptrdiff_t(batch.pair_room) * strip_width;
    for (int strip = first; strip < last; strip += stretch) {
        const int some = last - strip < stretch ? last - strip : stretch;
        for (int position = 0; position < shape.block; ++position) {
            const float *weights = W1 + strip * W1_strip + std::ptrdiff_t(position) * shape.embedding * strip_width;
            const float *grads = dpairs + strip * dpairs_strip;
            int q = batch.pair_begin[position];
            for (; q + 1 < batch.pair_end[position]; q += 2)
                row_products<2>(shape.embedding, grads + std::ptrdiff_t(q) * strip_width, dpairs_strip, weights, W1_strip, some,
                                {demb + q * row, demb + (q + 1) * row});
            if (q < batch.pair_end[position])
                row_products<1>(shape.embedding, grads + std::ptrdiff_t(q) * strip_width, dpairs_strip, weights, W1_strip, some,
                                {demb + q * row});
        }
    }
}

// visit(the first float of a pair's row), for each strip of each pair's row.
template <class Visit>
INLINE void for_pair_rows(const Shape &shape, const Batch &batch, Visit visit) {
    const std::ptrdiff_t row = strips_of(shape.embedding) * strip_width;
    for (int position = 0; position < shape.block; ++position)
        for (int q = batch.pair_begin[position]; q < batch.pair_end[position]; ++q)
            for (std::ptrdiff_t k = 0; k < row; k += strip_width) visit(q, q * row + k, k);
}

// demb of a part's groups, added up as far as it alone can.
INLINE void embedding_backward(const Shape &shape, const float *W1, const Batch &batch, const float *dpairs, float *demb, const Part &part) {
    const std::ptrdiff_t group_size = std::ptrdiff_t(batch.pair_room) * strips_of(shape.embedding) * strip_width;
    for (int group = part.first_group; group < part.last_group; ++group) {
        float *const of_group = demb + group * group_size;
        for_pair_rows(shape, batch, [&](int, std::ptrdiff_t at, std::ptrdiff_t) { store(of_group + at, fill(0)); });
        embedding_backward(shape, W1, batch, dpairs, of_group, part.first_strip[group], part.first_strip[group + 1]);
    }
    for (int i = 0; i < part.own_count; ++i) {
        float *const to = demb + part.own[i].to * group_size, *const from = demb + part.own[i].from * group_size;
        for_pair_rows(shape, batch, [&](int, std::ptrdiff_t at, std::ptrdiff_t) { store(to + at, load(to + at) + load(from + at)); });
    }
}

// C -= rate * dC, pair by pair. Symbols outside the batch are not touched, however many there are.
INLINE void update_C(const Shape &shape, const Batch &batch, const Part &part, const float *demb, float *C, float rate) {
    const std::ptrdiff_t row = strips_of(shape.embedding) * strip_width, group_size = batch.pair_room * row;
    for_pair_rows(shape, batch, [&](int q, std::ptrdiff_t at, std::ptrdiff_t k) {
        Strip sums[most_groups];
        sums[0] = load(demb + at);
        for (int i = 0; i < part.between_count; ++i) sums[part.between[i].from] = load(demb + part.between[i].from * group_size + at);
        for (int i = 0; i < part.between_count; ++i) sums[part.between[i].to] = sums[part.between[i].to] + sums[part.between[i].from];
        float *const to = C + batch.symbol_of[q] * row + k;
        store(to, load(to) - rate * sums[0]);
    });
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
