// The yardstick: fused multiply-adds as fast as the processor can do them, with everything in registers.
#pragma once
#include "strip.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

// Enough chains of additions side by side that none waits for another: latency 4 or 5, at most 2 started in a cycle.
inline double multiply_adds(long rounds) {
    constexpr int chains = 12;
    Vector sums[chains];
    UNROLL for (int c = 0; c < chains; ++c) sums[c] = float(c) - Vector{};
    Vector factor = 0.5f - Vector{}, term = 1.0f - Vector{};
    asm volatile("" : "+m"(factor), "+m"(term));  // unknown to the compiler, so that no round can be worked out beforehand
    for (long i = 0; i < rounds; ++i)
        UNROLL for (int c = 0; c < chains; ++c) sums[c] = sums[c] * factor + term;
    UNROLL for (int c = 0; c < chains; ++c) asm volatile("" : : "m"(sums[c]));
    return 2.0 * chains * width * double(rounds);
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
