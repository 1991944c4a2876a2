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

// dC += demb, two pairs at a time. The summed axis is the hidden units, along which the vectors run: so the strips are cut into
// stretches that keep a position's part of W1 in the second-level cache at any hidden size.
INLINE void embedding_backward(const Shape &shape, const float *W1, const Batch &batch, const float *dpairs, float *dC) {
    constexpr int stretch = 64;
    const std::ptrdiff_t C_row = strips_of(shape.embedding) * strip_width;
    const std::ptrdiff_t W1_strip = std::ptrdiff_t(shape.block) * shape.embedding * strip_width;
    const std::ptrdiff_t dpairs_strip = std::ptrdiff_t(batch.pair_room) * strip_width;
    const int strips = strips_of(shape.hidden);
    for (int strip = 0; strip < strips; strip += stretch) {
        const int some = strips - strip < stretch ? strips - strip : stretch;
        for (int position = 0; position < shape.block; ++position) {
            const float *weights = W1 + strip * W1_strip + std::ptrdiff_t(position) * shape.embedding * strip_width;
            const float *grads = dpairs + strip * dpairs_strip;
            int q = batch.pair_begin[position];
            for (; q + 1 < batch.pair_end[position]; q += 2)
                row_products<2>(shape.embedding, grads + std::ptrdiff_t(q) * strip_width, dpairs_strip, weights, W1_strip, some,
                                {dC + batch.symbol_of[q] * C_row, dC + batch.symbol_of[q + 1] * C_row});
            if (q < batch.pair_end[position])
                row_products<1>(shape.embedding, grads + std::ptrdiff_t(q) * strip_width, dpairs_strip, weights, W1_strip, some,
                                {dC + batch.symbol_of[q] * C_row});
        }
    }
}

// C -= rate * dC, and dC back to zero: a symbol that was met in two positions is updated at the first visit, and by nothing at
// the second. Symbols outside the batch are not touched, however many there are.
INLINE void update_C(const Shape &shape, const Batch &batch, float *dC, float *C, float rate) {
    const std::ptrdiff_t C_row = strips_of(shape.embedding) * strip_width;
    for (int position = 0; position < shape.block; ++position)
        for (int q = batch.pair_begin[position]; q < batch.pair_end[position]; ++q) {
            const std::ptrdiff_t row = batch.symbol_of[q] * C_row;
            for (std::ptrdiff_t k = row; k < row + C_row; k += strip_width) {
                store(C + k, load(C + k) - rate * load(dC + k));
                store(dC + k, fill(0));
            }
        }
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
