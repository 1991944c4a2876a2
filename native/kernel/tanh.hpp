// h = tanh(hpreact);  dhpreact = dh * (1 - h^2).
#pragma once
#include "elementary.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

INLINE Strip tanh(const Strip &hpreact) {
    return apply([](Vector x) { return tanh(x); }, hpreact);
}

INLINE Strip tanh_backward(const Strip &dh, const Strip &h) { return dh * (1.0f - h * h); }

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
