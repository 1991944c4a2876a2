// The three products of a linear layer over the rows of a batch, on strips.
//
//   y = x @ W + b        dx = dy @ W^T        dW = x^T @ dy      db = sum over the rows of dy
//
// y and dx sum along a row: a panel of some rows and one strip of the result stays in registers, and W, or the transposed copy of it, goes by
// (../kernel/product.hpp). dW sums over the rows: product_by_lane. No sum depends on which rows are done together, or by whom.
#pragma once
#include "../kernel/product.hpp"
#include "kernel.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

using RowPanels = void (*)(int panels, const float *a, std::ptrdiff_t a_strip, const float *b, int strips, const Strip &first, float *out);

// `panels` times R rows, one panel after the other.
template <int R, bool add>
void row_panels(int panels, const float *a, std::ptrdiff_t a_strip, const float *b, int strips, const Strip &first, float *out) {
    for (; panels > 0; --panels, a += R * strip_width, out += R * strip_width) {
        Strip sums[R];
        UNROLL for (int r = 0; r < R; ++r) sums[r] = first;
        const float *from = a, *right = b;
        for (int s = 0; s < strips; ++s, from += a_strip, right += strip_width * strip_width)
            UNROLL for (int l = 0; l < strip_width; ++l) {
                const Strip row = load(right + l * strip_width);
                UNROLL for (int r = 0; r < R; ++r) sums[r] = from[r * strip_width + l] * row + sums[r];
            }
        UNROLL for (int r = 0; r < R; ++r) store(out + r * strip_width, add ? load(out + r * strip_width) + sums[r] : sums[r]);
    }
}

template <bool add, int... R>
INLINE RowPanels row_panels_of(int rows, Numbers<R...>) {
    static constexpr RowPanels panels[] = {row_panels<R, add>...};
    return panels[rows - 1];
}

// out (rows, 16) = first + a @ b, or out += that where `add`, with a (strips, rows, 16), its strips a_strip floats apart, and b (16 * strips, 16).
// Slices of rows as equal as can be: the larger ones, and those with a row less.
template <bool add>
INLINE void row_product(int rows, const float *a, std::ptrdiff_t a_strip, const float *b, int strips, const Strip &first, float *out) {
    const int slices = (rows + panel_rows - 1) / panel_rows;
    if (slices == 0) return;
    const int less = rows / slices, larger = rows % slices;
    if (larger > 0) row_panels_of<add>(less + 1, typename NumbersTo<panel_rows>::List{})(larger, a, a_strip, b, strips, first, out);
    const std::ptrdiff_t done = std::ptrdiff_t(larger) * (less + 1) * strip_width;
    row_panels_of<add>(less, typename NumbersTo<panel_rows>::List{})(slices - larger, a + done, a_strip, b, strips, first, out + done);
}

// y = x @ W + b, or y += that, for some rows; `after(y of a strip, the strip's number)` while the strip lies in the first-level cache. Where a
// matrix is given, its first row is meant, and its strips are `strip` floats apart.
template <bool add, class After>
INLINE void linear(const Linear &layer, Span rows, std::ptrdiff_t strip, const float *x, float *y, After after) {
    const std::ptrdiff_t first = std::ptrdiff_t(rows.first) * strip_width, depth = std::ptrdiff_t(layer.in) * strip_width * strip_width;
    for (int s = 0; s < layer.out; ++s) {
        float *const out = y + s * strip + first;
        const Strip bias = layer.bias ? load(layer.bias + s * strip_width) : fill(0);
        row_product<add>(rows.last - rows.first, x + first, strip, layer.weight + s * depth, layer.in, bias, out);
        after(out, s);
    }
}

template <class After>
INLINE void linear_backward(const Linear &layer, Span rows, std::ptrdiff_t strip, const float *dy, float *dx, After after) {
    const std::ptrdiff_t first = std::ptrdiff_t(rows.first) * strip_width, depth = std::ptrdiff_t(layer.out) * strip_width * strip_width;
    for (int s = 0; s < layer.in; ++s) {
        float *const out = dx + s * strip + first;
        row_product<false>(rows.last - rows.first, dy + first, strip, layer.turned + s * depth, layer.out, fill(0), out);
        after(out, s);
    }
}

constexpr auto nothing = [](float *, int) {};

// Rows of a sum over rows that are done together: rounding grows with so many terms and the number of such pieces, and two strips of them stay
// in the first-level cache.
constexpr int rows_summed = 192;

// dW (16 * in, 16) of one strip of columns.
INLINE void weight_gradient(int in, const float *x, std::ptrdiff_t strip, const float *dy, int rows, float *dW) {
    for (int row = 0; row < rows; row += rows_summed) {
        const int some = rows - row < rows_summed ? rows - row : rows_summed;
        const std::ptrdiff_t first = std::ptrdiff_t(row) * strip_width;
        for (int s = 0; s < in; ++s) {
            float *const to = dW + std::ptrdiff_t(s) * strip_width * strip_width;
            if (row == 0)
                product_by_lane<false>(strip_width, x + s * strip, dy, some, fill(0), to);
            else
                product_by_lane<true>(strip_width, x + s * strip + first, dy + first, some, fill(0), to);
        }
    }
}

// The sum of term(row) over the rows, four sums side by side, so that their additions overlap.
template <class Term>
INLINE Strip sum_of_rows(int rows, Term term) {
    Strip total = fill(0);
    for (int first = 0; first < rows; first += rows_summed) {
        const int last = rows - first < rows_summed ? rows : first + rows_summed;
        Strip sums[4] = {};
        int row = first;
        for (; row + 4 <= last; row += 4) UNROLL for (int j = 0; j < 4; ++j) sums[j] = sums[j] + term(row + j);
        for (; row < last; ++row) sums[0] = sums[0] + term(row);
        total = total + ((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
    return total;
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
