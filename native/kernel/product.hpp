// The three matrix products that every linear layer needs, forward and back, on strips.
//
// For a layer O = a @ b + c:   da = dO @ b^T,   db = a^T @ dO,   dc = sum over the rows of dO.
// Only the place of the summed axis tells the products apart:
//
//   product_by_lane   out[l, :] = sum_k a[k, l] * b[k, :]                 l: the 16 lanes of a's strip
//   product_by_row    out[r, :] += scale * sum_(s,l) a[s, r, l] * b[s, l, :]   r: the rows of a's strips
//   row_products      out[r]    = sum_(s,l) a[s, l] * b[s, r, l]          no free axis along the vectors
//
// The first two keep a panel of `out` in registers while they walk along the summed axis: one load of b serves the whole
// panel, and a's numbers come one by one as broadcasts, which the multiply-add takes from memory at no cost of its own. Neither
// operand is ever copied or packed: the strips are the packing.
#pragma once
#include <cstddef>

#include "strip.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

// Rows of a panel: as many as the registers hold beside one strip of b and a broadcast. 30 for AVX-512, 6 for AVX2 and NEON, 2 for SSE2.
constexpr int panel_rows = (registers - parts - 1) / parts;

// Calls call(first, rows) for ceil(n / most) slices of 0..n, as equal as can be: 32 rows become 16 + 16, never 28 + 4,
// since a thin slice cannot hide the latency of its additions.
template <class F>
INLINE void for_slices(int n, int most, F call) {
    for (int first = 0, slices = (n + most - 1) / most; slices > 0; --slices) {
        const int rows = (n - first + slices - 1) / slices;
        call(first, rows);
        first += rows;
    }
}

// A list of functions f<1>, f<2>, ... f<most>, so that the number of rows, known at run time only, is a constant in the loops.
template <int... R>
struct Numbers {};
template <int N, int... R>
struct NumbersTo : NumbersTo<N - 1, N, R...> {};
template <int... R>
struct NumbersTo<0, R...> {
    using List = Numbers<R...>;
};

// ---- product_by_lane --------------------------------------------------------------------------------------------------

using ByLane = void (*)(const float *a, const float *b, int depth, const Strip &first, float *out);

template <int R, bool add>
void panel_by_lane(const float *a, const float *b, int depth, const Strip &first, float *out) {
    Strip sums[R];
    UNROLL for (int l = 0; l < R; ++l) sums[l] = first;
    for (int k = 0; k < depth; ++k, a += strip_width, b += strip_width) {
        const Strip row = load(b);
        UNROLL for (int l = 0; l < R; ++l) sums[l] = a[l] * row + sums[l];
    }
    UNROLL for (int l = 0; l < R; ++l) store(out + l * strip_width, add ? load(out + l * strip_width) + sums[l] : sums[l]);
}

constexpr int lanes_at_once = panel_rows < strip_width ? panel_rows : strip_width;

template <bool add, int... R>
INLINE ByLane panel_by_lane_of(int rows, Numbers<R...>) {
    static constexpr ByLane panels[] = {panel_by_lane<R, add>...};
    return panels[rows - 1];
}

// out (lanes, 16) = first + a^T b, or out += first + a^T b where `add`. a (depth, 16) of which the first `lanes` columns count, b (depth, 16).
template <bool add>
INLINE void product_by_lane(int lanes, const float *a, const float *b, int depth, const Strip &first, float *out) {
    for_slices(lanes, lanes_at_once, [&](int l, int rows) {
        panel_by_lane_of<add>(rows, typename NumbersTo<lanes_at_once>::List{})(a + l, b, depth, first, out + l * strip_width);
    });
}

// ---- product_by_row ---------------------------------------------------------------------------------------------------

using ByRow = void (*)(const float *a, std::ptrdiff_t a_strip, const float *b, std::ptrdiff_t b_strip, int depth, float scale, float *out);

template <int R, bool add>
void panel_by_row(const float *a, std::ptrdiff_t a_strip, const float *b, std::ptrdiff_t b_strip, int depth, float scale, float *out) {
    Strip sums[R] = {};
    const auto one = [&](int l) __attribute__((always_inline)) {
        const Strip row = load(b + l * strip_width);
        UNROLL for (int r = 0; r < R; ++r) sums[r] = a[r * strip_width + l] * row + sums[r];
    };
    for (; depth >= strip_width; depth -= strip_width, a += a_strip, b += b_strip)
        for (int l = 0; l < strip_width; ++l) one(l);
    for (int l = 0; l < depth; ++l) one(l);
    UNROLL for (int r = 0; r < R; ++r) {
        float *const to = out + r * strip_width;
        store(to, add ? scale * sums[r] + load(to) : scale * sums[r]);
    }
}

template <bool add, int... R>
INLINE ByRow panel_by_row_of(int rows, Numbers<R...>) {
    static constexpr ByRow panels[] = {panel_by_row<R, add>...};
    return panels[rows - 1];
}

template <bool add>
INLINE ByRow panel_by_row_of(int rows) {
    return panel_by_row_of<add>(rows, typename NumbersTo<panel_rows>::List{});
}

// out (rows, 16) += scale * sum over `depth` places of a (strips, rows, 16) and b (depth, 16). a's strips lie a_strip floats apart.
INLINE void product_by_row(int rows, const float *a, std::ptrdiff_t a_strip, const float *b, int depth, float scale, float *out) {
    for_slices(rows, panel_rows, [&](int r, int some) {
        panel_by_row_of<true>(some)(a + r * strip_width, a_strip, b, strip_width * strip_width, depth, scale, out + r * strip_width);
    });
}

// ---- row_products -----------------------------------------------------------------------------------------------------

// Two columns share each load of b, as long as the registers hold the sums of so many rows for both.
constexpr int rows_together = (registers - 1) / 2 - 1 < width ? (registers - 1) / 2 - 1 : width;

using RowProducts = void (*)(const float *a, std::ptrdiff_t a_strip, const float *b, std::ptrdiff_t b_strip, int strips,
                             float *const *out);

template <int columns, int R>
void panel_of_row_products(const float *a, std::ptrdiff_t a_strip, const float *b, std::ptrdiff_t b_strip, int strips,
                           float *const *out) {
    Vector sums[columns][R] = {};
    for (; strips > 0; --strips, a += a_strip, b += b_strip)
        UNROLL for (int p = 0; p < parts; ++p) {
            Vector left[columns];
            UNROLL for (int c = 0; c < columns; ++c) left[c] = load_vector(a + c * strip_width + p * width);
            UNROLL for (int r = 0; r < R; ++r) {
                const Vector right = held(load_vector(b + r * strip_width + p * width));
                UNROLL for (int c = 0; c < columns; ++c) sums[c][r] = left[c] * right + sums[c][r];
            }
        }
    UNROLL for (int c = 0; c < columns; ++c) store_vector(out[c], load_vector(out[c]) + sums_of_lanes(sums[c]));
}

template <int columns, int... R>
INLINE RowProducts panel_of_row_products_of(int rows, Numbers<R...>) {
    static constexpr RowProducts panels[] = {panel_of_row_products<columns, R>...};
    return panels[rows - 1];
}

// out[c][r] += a (strips, columns, 16)[:, c, :] times b (strips, rows, 16)[:, r, :], summed; two columns share each load of b, where
// the registers hold their sums. Writes whole vectors: out[c] has room for rows rounded up to 16.
template <int columns>
INLINE void row_products(int rows, const float *a, std::ptrdiff_t a_strip, const float *b, std::ptrdiff_t b_strip, int strips,
                         float *const (&out)[columns]) {
    for (int r = 0; r < rows; r += width) {
        const int some = rows - r < width ? rows - r : width;
        float *to[columns];
        for (int c = 0; c < columns; ++c) to[c] = out[c] + r;
        if (columns > 1 && some <= rows_together)
            panel_of_row_products_of<columns>(some, typename NumbersTo<width>::List{})(a, a_strip, b + r * strip_width, b_strip, strips, to);
        else
            for (int c = 0; c < columns; ++c)
                panel_of_row_products_of<1>(some, typename NumbersTo<width>::List{})(a + c * strip_width, a_strip, b + r * strip_width, b_strip,
                                                                                     strips, to + c);
    }
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
