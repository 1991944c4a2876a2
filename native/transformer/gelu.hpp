// gelu(a) = a/2 (1 + tanh(u)) with u = sqrt(2/pi) (a + 0.044715 a^3), and its slope.
//
// (1 + tanh(u)) / 2 is the logistic function s = 1 / (1 + e), e = exp(-2u), so
//
//   gelu(a) = a s        slope = d gelu/da = s + a s (1 - s) 2 du/da        du/da = sqrt(2/pi) (1 + 3 * 0.044715 a^2)
//
// and 1 - s = e s: one exponential and one division serve both. So the forward pass leaves the slope, and the backward pass is one
// multiplication.
#pragma once
#include "../kernel/elementary.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

// 2^y for |y| <= 126: 2^n 2^f with n = round(y), and a polynomial for 2^f, |f| <= 1/2, fitted for the least relative error (2e-7 with rounding).
INLINE Vector power_of_two(Vector y) {
    constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const Vector shifted = y + round, f = y - (shifted - round);
    const Vector p = ((((1.3264727e-3f * f + 9.6715130e-3f) * f + 5.5507336e-2f) * f + 2.4022242e-1f) * f + 6.9314700e-1f) * f + 1.0f;
    return reinterpret_cast<Vector>(reinterpret_cast<Bits>(p) + (reinterpret_cast<Bits>(shifted) << 23));
}

// a becomes gelu(a), and its slope is left beside it, in `size` floats, a multiple of 16. At |2u| = 126 log 2, where the exponent is cut off,
// s is 1 or next to 0 for long.
INLINE void gelu(std::ptrdiff_t size, float *a, float *slope) {
    constexpr float twice = 1.5957691f, cubic = 0.044715f, binary = -1.4426950f;  // 2 sqrt(2/pi), and -1 / log 2
    for (std::ptrdiff_t i = 0; i < size; i += width) {
        const Vector x = load_vector(a + i), square = x * x;
        const Vector y = x * (square * (binary * twice * cubic) + binary * twice);  // -2u / log 2
        const Vector e = power_of_two(between(-126, 126, y)), s = 1.0f / (1.0f + e);
        const Vector result = x * s;
        const Vector rise = square * (3 * twice * cubic) + twice;  // 2 du/da
        store_vector(a + i, result);
        store_vector(slope + i, (result * rise) * (e * s) + s);
    }
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
