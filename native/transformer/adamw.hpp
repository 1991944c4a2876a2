// AdamW: decay apart from the gradient, then a step along the mean gradient over the root of its mean square.
//
//   p <- p - rate * decay * p                      (where there is decay)
//   m <- beta1 m + (1 - beta1) g        v <- beta2 v + (1 - beta2) g^2
//   p <- p - rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
//
// All that does not depend on the parameter is worked out once a step, in double precision (trainer.cpp). What fills up a strip has g = 0, so
// it stays 0: epsilon is not.
#pragma once
#include "../kernel/strip.hpp"
#include "kernel.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

INLINE void adamw(const Piece &piece, const Flat &flat, const AdamW &numbers, bool decays) {
    float *const p = flat.parameters + piece.place, *const m = flat.means + piece.place, *const v = flat.squares + piece.place;
    const float *const gradients = flat.gradients + piece.place;
    const float keep = decays ? numbers.keep : 1.0f;
    for (std::ptrdiff_t i = 0; i < piece.floats; i += width) {
        const Vector g = numbers.scale * load_vector(gradients + i);
        const Vector mean = numbers.beta1 * load_vector(m + i) + numbers.rest1 * g;
        const Vector square = numbers.beta2 * load_vector(v + i) + numbers.rest2 * (g * g);
        store_vector(m + i, mean);
        store_vector(v + i, square);
        const Vector step = mean / (square_root(square) * numbers.correction + numbers.epsilon);
        store_vector(p + i, keep * load_vector(p + i) - numbers.rate * step);
    }
}

INLINE double sum_of_squares(const Piece &piece, const float *gradients) {
    const float *const g = gradients + piece.place;
    double total = 0;
    for (std::ptrdiff_t i = 0; i < piece.floats; i += 64 * strip_width) {
        Strip squares = fill(0);
        for (std::ptrdiff_t j = i; j < piece.floats && j < i + 64 * strip_width; j += strip_width) squares = squares + load(g + j) * load(g + j);
        total += sum(squares);
    }
    return total;
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
