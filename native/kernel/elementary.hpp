// tanh, exp and log on vectors, within a few units in the last place of the true value (tests/test_elementary.py measures them).
// NaN goes through, and infinity is seen.
#pragma once
#include <cstddef>

#include "strip.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

INLINE Vector between(float low, float high, Vector x) { return smaller(high - Vector{}, larger(low - Vector{}, x)); }

// x P(x^2) / Q(x^2), fitted for the least relative error on [-9, 9] (2e-8); beyond 9, tanh rounds to 1. Near 1 the result may come out
// one unit too large, and is cut back: 1 - h^2 must not be negative.
INLINE Vector tanh(Vector x) {
    x = between(-9, 9, x);
    const Vector t = x * x;
    const Vector p = (((1.3354527e-08f * t + 2.0609097e-05f) * t + 3.4955945e-03f) * t + 1.3381033e-01f) * t + 1.0f;
    const Vector q = (((7.7765351e-07f * t + 3.2856413e-04f) * t + 2.5877013e-02f) * t + 4.6714349e-01f) * t + 1.0f;
    return between(-1, 1, x * p / q);
}

// exp(x) for x <= 0: 2^n e^r with n = round(x / log 2), |r| <= log(2) / 2. Below the smallest normal number: 0.
INLINE Vector exp_of_negative(Vector x) {
    constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const Vector lowest = -87.33654f - Vector{}, at = larger(lowest, x);
    const Vector shifted = at * 1.44269504f + round;
    const Vector n = shifted - round;
    const Vector r = (at - n * 0.693359375f) - n * -2.12194440e-4f;  // log 2 in two parts: the first times n is exact
    const Vector p = ((((1.3888889e-03f * r + 8.3333333e-03f) * r + 4.1666667e-02f) * r + 1.6666667e-01f) * r + 0.5f) * r * r + r + 1.0f;
    const Bits exponent = (reinterpret_cast<Bits>(shifted) << 23) + (127 << 23);
    return x < lowest ? Vector{} : p * reinterpret_cast<Vector>(exponent);
}

// log(x) for x >= 1: x = 2^n m with m in [sqrt(1/2), sqrt(2)), s = (m - 1) / (m + 1), log m = 2 (s + s^3/3 + s^5/5 + ...).
INLINE Vector log_of_large(Vector x) {
    const Bits bits = reinterpret_cast<Bits>(x);
    const Bits n = (bits - 0x3f3504f3) >> 23;
    const Vector m = reinterpret_cast<Vector>(bits - (n << 23));
    const Vector s = (m - 1.0f) / (m + 1.0f), t = s * s;
    const Vector series = ((0.22222222f * t + 0.28571429f) * t + 0.4f) * t + 0.66666667f;
    const Vector power = __builtin_convertvector(n, Vector);
    const Vector result = power * 0.693359375f + (power * -2.12194440e-4f + (series * t * s + 2.0f * s));
    return result + (x - x);  // x - x: 0, or NaN for NaN and infinity
}

// f on an array, for the tests; `size` is a multiple of 16.
template <Vector (*f)(Vector)>
void on_array(const float *from, float *to, std::ptrdiff_t size) {
    for (std::ptrdiff_t i = 0; i < size; i += width) store_vector(to + i, f(load_vector(from + i)));
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
