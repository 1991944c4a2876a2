// x = wte[symbol] + wpe[position], and back: a symbol's, or a position's, gradient is the sum of dx over the rows that have it.
#pragma once
#include "../kernel/strip.hpp"
#include "kernel.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

INLINE void embed(const TransformerMemory &memory, const Prefixes &batch, Span rows) {
    const TransformerShape &shape = memory.shape;
    for (int s = 0; s < shape.row_strips; ++s) {
        const float *const wte = memory.wte + std::ptrdiff_t(s) * shape.symbols * strip_width;
        const float *const wpe = memory.wpe + std::ptrdiff_t(s) * shape.block * strip_width;
        for (int r = rows.first; r < rows.last; ++r)
            store(memory.x + s * memory.strip + std::ptrdiff_t(r) * strip_width,
                  load(wte + std::ptrdiff_t(batch.symbol[r]) * strip_width) + load(wpe + std::ptrdiff_t(batch.depth[r]) * strip_width));
    }
}

// One strip: dwte (symbols, 16) and dwpe (block, 16), of `dx` (rows, 16).
INLINE void embedding_gradient(const Prefixes &batch, const float *dx, const Piece &wte, const Piece &wpe, float *gradients) {
    for (std::ptrdiff_t i = 0; i < wte.floats; i += strip_width) store(gradients + wte.place + i, fill(0));
    for (std::ptrdiff_t i = 0; i < wpe.floats; i += strip_width) store(gradients + wpe.place + i, fill(0));
    for (int r = 0; r < batch.rows; ++r) {
        const Strip row = load(dx + std::ptrdiff_t(r) * strip_width);
        float *const symbol = gradients + wte.place + std::ptrdiff_t(batch.symbol[r]) * strip_width;
        float *const position = gradients + wpe.place + std::ptrdiff_t(batch.depth[r]) * strip_width;
        store(symbol, load(symbol) + row);
        store(position, load(position) + row);
    }
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
