// Batch normalisation of one hidden strip, over the examples of the batch.
//
//   bnmeani   = 1/n sum_i hprebn_i
//   bndiff_i  = hprebn_i - bnmeani
//   bnvar     = 1/(n - correction) sum_i bndiff_i^2
//   bnvar_inv = (bnvar + epsilon)^(-1/2)
//   bnraw_i   = bndiff_i * bnvar_inv
//   hpreact_i = bngain * bnraw_i + bnbias
//
// Backward, the whole chain in one step:
//
//   dbngain = sum_i dhpreact_i * bnraw_i      dbnbias = sum_i dhpreact_i
//   dhprebn_i = bngain * bnvar_inv * (dhpreact_i - dbnbias / n - bnraw_i * dbngain / (n - correction))
//
// A row here is a distinct context, and stands for count_i examples: the sums over the examples weigh it by count_i, and what
// comes back to it, dhpreact_i and dhprebn_i, is the sum over its examples. The variance is taken in a second pass over
// differences, as the rule reads: sum of squares less square of sum would cancel.
#pragma once
#include "strip.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {

// A sum over rows, as four sums side by side: their additions overlap. Every 64 rows they are carried over, so that the rounding error
// grows with 64 terms and the number of carries, not with all rows.
struct Sum {
    Strip part[4] = {}, total = {};
    INLINE void carry() {
        total = total + ((part[0] + part[1]) + (part[2] + part[3]));
        UNROLL for (int j = 0; j < 4; ++j) part[j] = {};
    }
};

// row(i, i % 4) for i in 0..rows, a multiple of 4, and carry() after every 64.
template <class Row, class Carry>
INLINE void for_rows(int rows, Row row, Carry carry) {
    for (int first = 0; first < rows; first += 64) {
        for (int i = first; i < rows && i < first + 64; i += 4) UNROLL for (int j = 0; j < 4; ++j) row(i + j, j);
        carry();
    }
}

struct Statistics {
    Strip bnmeani, bnvar_inv;
};

// Of hprebn(i), i in 0..contexts, a multiple of 4; hprebn is kept in `rows`. What comes before and after batch normalisation is handed
// in as a function of one row, so that its values go on in registers.
template <class Before>
INLINE Statistics batchnorm_statistics(const Shape &shape, const Batch &batch, int contexts, Before hprebn, float *rows) {
    const float n = batch.examples;
    const float *count = batch.count;
    Sum sum;
    for_rows(
        contexts,
        [&](int i, int j) {
            const Strip row = hprebn(i);
            store(rows + i * strip_width, row);
            sum.part[j] = count[i] * row + sum.part[j];
        },
        [&] { sum.carry(); });
    const Strip bnmeani = sum.total / n;

    Sum squares;
    for_rows(
        contexts,
        [&](int i, int j) {
            const Strip bndiff = load(rows + i * strip_width) - bnmeani;
            squares.part[j] = count[i] * (bndiff * bndiff) + squares.part[j];
        },
        [&] { squares.carry(); });
    const Strip bnvar = squares.total / (n - shape.correction);
    return {bnmeani, inverse_square_root(bnvar + shape.epsilon)};
}

// hprebn in `bnraw` becomes bnraw; out = after(hpreact).
template <class After>
INLINE void batchnorm(const Statistics &statistics, int contexts, const float *gain, const float *bias, After after, float *bnraw, float *out) {
    const Strip scale = load(gain), shift = load(bias);
    for (int i = 0; i < contexts; i += 4)
        UNROLL for (int j = 0; j < 4; ++j) {
            const Strip raw = (load(bnraw + (i + j) * strip_width) - statistics.bnmeani) * statistics.bnvar_inv;
            store(bnraw + (i + j) * strip_width, raw);
            store(out + (i + j) * strip_width, after(scale * raw + shift));
        }
}

// dhprebn, and updates of bngain, bnbias and b1, for dhpreact(i).
template <class Before>
INLINE void batchnorm_backward(const Shape &shape, const Batch &batch, int contexts, const float *gain, const float *bnraw,
                               const float *bnvar_inv, Before dhpreact, float *dhprebn, float *gain_write, float *bias_write, float *b1_write,
                               float rate) {
    const float n = batch.examples;
    const float *count = batch.count;
    Sum dbnbias, dbngain;
    for_rows(
        contexts,
        [&](int i, int j) {
            const Strip g = dhpreact(i);
            store(dhprebn + i * strip_width, g);
            dbnbias.part[j] = dbnbias.part[j] + g;
            dbngain.part[j] = g * load(bnraw + i * strip_width) + dbngain.part[j];
        },
        [&] { dbnbias.carry(), dbngain.carry(); });

    const Strip scale = load(gain) * load(bnvar_inv), mean = dbnbias.total / n, slope = dbngain.total / (n - shape.correction);
    Sum db1;
    for_rows(
        contexts,
        [&](int i, int j) {
            const Strip both = slope * load(bnraw + i * strip_width) + mean;
            const Strip g = scale * (load(dhprebn + i * strip_width) - count[i] * both);
            db1.part[j] = db1.part[j] + g;
            store(dhprebn + i * strip_width, g);
        },
        [&] { db1.carry(); });
    store(gain_write, load(gain_write) - rate * dbngain.total);
    store(bias_write, load(bias_write) - rate * dbnbias.total);
    store(b1_write, load(b1_write) - rate * db1.total);  // db1 = sum_i dhprebn_i: zero but for rounding, and still a parameter
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
