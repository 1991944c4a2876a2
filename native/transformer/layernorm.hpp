// Layer normalisation of each row, over its n = width numbers.
//
//   mean    = 1/n sum_j x_j               var = 1/n sum_j (x_j - mean)^2
//   inverse = (var + 1e-5)^(-1/2)
//   normal  = (x - mean) * inverse        out = gain * normal + bias
//
// Backward, with g = dout * gain:
//
//   dx    = inverse * (g - 1/n sum_j g_j - normal * 1/n sum_j g_j normal_j)
//   dgain = sum over the rows of dout * normal         dbias = sum over the rows of dout
//
// As many rows as a register has lanes are done together, so that the sums along them are added up across the lanes at once. The variance is
// taken over differences, as the rule reads: the mean of squares less the square of the mean would cancel. What fills up a row's last strip
// stays 0.
#pragma once
#include "kernel.hpp"
#include "product.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

constexpr float layernorm_epsilon = 1e-5f;

// 1 in the lanes of the last strip that belong to the row, 0 beyond.
INLINE Strip in_last_strip(const TransformerShape &shape) {
    alignas(64) float lanes[strip_width];
    for (int l = 0; l < strip_width; ++l) lanes[l] = (shape.row_strips - 1) * strip_width + l < shape.width;
    return load(lanes);
}

// The rows first..first + width, of which the last one is repeated where there are no more.
struct RowGroup {
    int first, rows;
    INLINE std::ptrdiff_t at(int i) const { return std::ptrdiff_t(first + (i < rows ? i : rows - 1)) * strip_width; }
};

template <class F>
INLINE void for_row_groups(Span rows, F f) {
    for (int first = rows.first; first < rows.last; first += width) f(RowGroup{first, rows.last - first < width ? rows.last - first : width});
}

// Lane i: the sum of term(i, s, p) over the strips s and the parts p of them.
template <class Term>
INLINE Vector sums_along_rows(int strips, Term term) {
    Vector sums[width] = {};
    for (int s = 0; s < strips; ++s)
        UNROLL for (int p = 0; p < parts; ++p) UNROLL for (int i = 0; i < width; ++i) sums[i] += term(i, s, p);
    return sums_of_lanes(sums);
}

INLINE Strip multiply_add(const Strip &a, const Strip &b, Strip c) {
    UNROLL for (int p = 0; p < parts; ++p) c.part[p] = a.part[p] * b.part[p] + c.part[p];
    return c;
}

INLINE void layernorm(const TransformerShape &shape, Span rows, std::ptrdiff_t strip, const float *x, const Norm &weights, const NormValues &to) {
    const int strips = shape.row_strips;
    const float mean_of = 1.0f / float(shape.width);
    const Strip last = in_last_strip(shape);
    for_row_groups(rows, [&](RowGroup group) {
        alignas(64) float means[width], inverses[strip_width];
        const auto at = [&](int i, int s, int p) { return load_vector(x + s * strip + group.at(i) + p * width); };
        store_vector(means, mean_of * sums_along_rows(strips, at));
        const Vector squares = sums_along_rows(strips, [&](int i, int s, int p) {
            Vector difference = at(i, s, p) - means[i];
            if (s + 1 == strips) difference *= last.part[p];
            return difference * difference;
        });
        const Vector variance = mean_of * squares + layernorm_epsilon;
        store_vector(inverses, 1.0f / square_root(variance));
        for (int i = 0; i < group.rows; ++i) to.inverse[group.first + i] = inverses[i];
        for (int s = 0; s < strips; ++s) {
            const Strip gain = load(weights.gain + s * strip_width), bias = load(weights.bias + s * strip_width);
            const Strip inside = s + 1 < strips ? fill(1) : last;
            for (int i = 0; i < group.rows; ++i) {
                const std::ptrdiff_t place = s * strip + group.at(i);
                const Strip normal = (load(x + place) - means[i]) * inverses[i] * inside;
                store(to.normal + place, normal);
                store(to.out + place, multiply_add(gain, normal, bias));
            }
        }
    });
}

// dx = dresidual + what comes back through the normalisation: every norm here stands at the beginning of a branch, beside which x goes on as it
// is. Without `dresidual`, nothing does.
INLINE void layernorm_backward(const TransformerShape &shape, Span rows, std::ptrdiff_t strip, const float *dout, const Norm &weights,
                               const NormValues &values, const float *dresidual, float *dx) {
    const int strips = shape.row_strips;
    const float mean_of = 1.0f / float(shape.width);
    const Strip last = in_last_strip(shape);
    for_row_groups(rows, [&](RowGroup group) {
        alignas(64) float means[width], slopes[width];
        const auto g = [&](int i, int s, int p) {
            return load_vector(dout + s * strip + group.at(i) + p * width) * load_vector(weights.gain + s * strip_width + p * width);
        };
        store_vector(means, mean_of * sums_along_rows(strips, g));
        store_vector(slopes, mean_of * sums_along_rows(strips, [&](int i, int s, int p) {
            return g(i, s, p) * load_vector(values.normal + s * strip + group.at(i) + p * width);
        }));
        for (int s = 0; s < strips; ++s) {
            const Strip gain = load(weights.gain + s * strip_width), inside = s + 1 < strips ? fill(1) : last;
            for (int i = 0; i < group.rows; ++i) {
                const std::ptrdiff_t at = s * strip + group.at(i);
                const Strip centred = load(dout + at) * gain - means[i] - load(values.normal + at) * slopes[i];
                const Strip back = centred * values.inverse[group.first + i] * inside;
                store(dx + at, dresidual ? load(dresidual + at) + back : back);
            }
        }
    });
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
