// A strip of 16 floats as one value, whatever the width of the machine's registers.
//
// Built on the vector extensions that GCC and Clang share; a * b + c becomes one fused multiply-add where the machine has it
// (-ffp-contract=fast, which touches nothing else: NaN and infinity keep their IEEE meaning).
#pragma once
#include <cstdint>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "../kernel.hpp"

#define INLINE [[gnu::always_inline]] inline
#define UNROLL _Pragma("GCC unroll 32")

namespace backproof {
namespace KERNEL_NAMESPACE {

#if defined(__AVX512F__)
constexpr int width = 16, registers = 32;
#elif defined(__AVX__)
constexpr int width = 8, registers = 16;
#elif defined(__aarch64__)
constexpr int width = 4, registers = 32;
#else
constexpr int width = 4, registers = 16;
#endif
constexpr int parts = strip_width / width;

using Vector = float __attribute__((vector_size(4 * width)));
using Bits = std::int32_t __attribute__((vector_size(4 * width)));

struct Strip {
    Vector part[parts];
};

INLINE Vector load_vector(const float *from) { return *reinterpret_cast<const Vector *>(from); }

// x in a register: else the compiler reads it again from memory for every use.
INLINE Vector held(Vector x) {
#if defined(__AVX512F__)
    asm("" : "+v"(x));
#elif defined(__SSE2__)
    asm("" : "+x"(x));
#endif
    return x;
}

INLINE Strip load(const float *from) {
    Strip s;
    UNROLL for (int p = 0; p < parts; ++p) s.part[p] = load_vector(from + p * width);
    return s;
}

INLINE void store_vector(float *to, Vector x) { *reinterpret_cast<Vector *>(to) = x; }

INLINE void store(float *to, const Strip &s) {
    UNROLL for (int p = 0; p < parts; ++p) store_vector(to + p * width, s.part[p]);
}

INLINE Strip fill(float x) {
    Strip s;
    UNROLL for (int p = 0; p < parts; ++p) s.part[p] = x - Vector{};
    return s;
}

#define STRIP_OPERATOR(op)                                                                  \
    INLINE Strip operator op(Strip a, const Strip &b) {                                     \
        UNROLL for (int p = 0; p < parts; ++p) a.part[p] = a.part[p] op b.part[p];          \
        return a;                                                                           \
    }                                                                                       \
    INLINE Strip operator op(Strip a, float b) {                                            \
        UNROLL for (int p = 0; p < parts; ++p) a.part[p] = a.part[p] op b;                  \
        return a;                                                                           \
    }                                                                                       \
    INLINE Strip operator op(float a, Strip b) {                                            \
        UNROLL for (int p = 0; p < parts; ++p) b.part[p] = a op b.part[p];                  \
        return b;                                                                           \
    }
STRIP_OPERATOR(+)
STRIP_OPERATOR(-)
STRIP_OPERATOR(*)
STRIP_OPERATOR(/)
#undef STRIP_OPERATOR

// The larger and the smaller of two; b where one is NaN. The x86 instruction does just that, but compilers do not find it.
#if defined(__AVX512F__)
INLINE Vector larger(Vector a, Vector b) { return _mm512_max_ps(a, b); }
INLINE Vector smaller(Vector a, Vector b) { return _mm512_min_ps(a, b); }
#elif defined(__AVX__)
INLINE Vector larger(Vector a, Vector b) { return _mm256_max_ps(a, b); }
INLINE Vector smaller(Vector a, Vector b) { return _mm256_min_ps(a, b); }
#elif defined(__SSE2__)
INLINE Vector larger(Vector a, Vector b) { return _mm_max_ps(a, b); }
INLINE Vector smaller(Vector a, Vector b) { return _mm_min_ps(a, b); }
#else
INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }
INLINE Vector smaller(Vector a, Vector b) { return a < b ? a : b; }
#endif

INLINE Strip larger(Strip a, const Strip &b) {
    UNROLL for (int p = 0; p < parts; ++p) a.part[p] = larger(a.part[p], b.part[p]);
    return a;
}

// f applied to each register of a strip.
template <class F>
INLINE Strip apply(F f, Strip x) {
    UNROLL for (int p = 0; p < parts; ++p) x.part[p] = f(x.part[p]);
    return x;
}

// Compilers find this instruction, but not from a loop over the lanes of a register.
INLINE Vector square_root(Vector x) {
#if defined(__AVX512F__)
    return _mm512_sqrt_ps(x);
#elif defined(__AVX__)
    return _mm256_sqrt_ps(x);
#elif defined(__SSE2__)
    return _mm_sqrt_ps(x);
#elif defined(__aarch64__)
    return vsqrtq_f32(x);
#else
    UNROLL for (int i = 0; i < width; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}

// 1 / sqrt(x). Once a strip: left to the compiler's own vectoriser.
INLINE Strip inverse_square_root(const Strip &x) {
    alignas(64) float values[strip_width];
    store(values, x);
    for (float &value : values) value = 1.0f / __builtin_sqrtf(value);
    return load(values);
}

// ---- transposing and adding up across registers --------------------------------------------------------------------------
//
// Both take turns of one kind: two rows a, b become two rows `low` and `high`, which between them hold the same numbers, with
// the bit of the index that told a from b moved from the row to the column, and a bit of the column moved to the row. Inside
// a quarter of 4 lanes that is an unpack, which costs a multiply-add nothing; between quarters it is a shuffle of quarters.

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Bits{__VA_ARGS__})
#endif

struct InQuarters {  // a0 b0 a1 b1 | a2 b2 a3 b3
#if defined(__AVX512F__)
    INLINE static Vector low(Vector a, Vector b) { return SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29); }
    INLINE static Vector high(Vector a, Vector b) { return SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31); }
#elif defined(__AVX__)
    INLINE static Vector low(Vector a, Vector b) { return SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13); }
    INLINE static Vector high(Vector a, Vector b) { return SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15); }
#else
    INLINE static Vector low(Vector a, Vector b) { return SHUFFLE(a, b, 0, 4, 1, 5); }
    INLINE static Vector high(Vector a, Vector b) { return SHUFFLE(a, b, 2, 6, 3, 7); }
#endif
};

#if defined(__AVX__)
struct Halves {  // the lower halves of a and b | their upper halves
#if defined(__AVX512F__)
    INLINE static Vector low(Vector a, Vector b) { return SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23); }
    INLINE static Vector high(Vector a, Vector b) { return SHUFFLE(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31); }
#else
    INLINE static Vector low(Vector a, Vector b) { return SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11); }
    INLINE static Vector high(Vector a, Vector b) { return SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15); }
#endif
};
#endif

#if defined(__AVX512F__)
struct Quarters {  // the even quarters of a and b | their odd quarters
    INLINE static Vector low(Vector a, Vector b) { return SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27); }
    INLINE static Vector high(Vector a, Vector b) { return SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31); }
};
#endif
#undef SHUFFLE

// One turn of all rows: each with the row `distance` further on.
template <int distance, class Turn>
INLINE void turn(Vector (&rows)[width], Turn) {
    UNROLL for (int i = 0; i < width; ++i)
        if (!(i & distance)) {
            const Vector a = rows[i], b = rows[i + distance];
            rows[i] = Turn::low(a, b);
            rows[i + distance] = Turn::high(a, b);
        }
}

INLINE void transpose(Vector (&rows)[width]) {
    turn<2>(rows, InQuarters{});
    turn<1>(rows, InQuarters{});
#if defined(__AVX__)
    turn<4>(rows, Halves{});
#endif
#if defined(__AVX512F__)
    turn<8>(rows, Quarters{});
    UNROLL for (int i = 4; i < 8; ++i) {  // these two turns leave their two row bits in each other's place
        const Vector row = rows[i];
        rows[i] = rows[i + 4];
        rows[i + 4] = row;
    }
#endif
}

// The same turns, but low and high are added: the bit that comes to the row is summed over, and the rows get half as many.
template <int distance, class Turn>
INLINE void add_turn(Vector (&rows)[width], Turn) {
    UNROLL for (int i = 0; i < width; ++i)
        if (!(i & distance)) rows[i] = Turn::low(rows[i], rows[i + distance]) + Turn::high(rows[i], rows[i + distance]);
}

// Lane i of the result is the sum of the lanes of rows[i], i < R, and 0 beyond.
template <int R>
INLINE Vector sums_of_lanes(const Vector (&given)[R]) {
    static_assert(R <= width, "a lane for each row");
    Vector rows[width];
    UNROLL for (int i = 0; i < width; ++i) rows[i] = i < R ? given[i] : Vector{};
    add_turn<2>(rows, InQuarters{});
    add_turn<1>(rows, InQuarters{});
#if defined(__AVX__)
    add_turn<4>(rows, Halves{});
#endif
#if defined(__AVX512F__)
    add_turn<8>(rows, Quarters{});
#endif
    return rows[0];
}

// The sum of the 16 values, in double precision.
INLINE double sum(const Strip &s) {
    alignas(64) float values[strip_width];
    store(values, s);
    double total = 0;
    for (float value : values) total += value;
    return total;
}

// Column j of the 16 rows that from(0), ..., from(15) point to becomes the 16 floats at to(j), for j < columns.
template <class From, class To>
INLINE void transpose(From from, To to, int columns) {
    for (int i = 0; i < strip_width; i += width)
        for (int j = 0; j < columns; j += width) {
            Vector rows[width];
            UNROLL for (int r = 0; r < width; ++r) rows[r] = load_vector(from(i + r) + j);
            transpose(rows);
            UNROLL for (int r = 0; r < width; ++r)
                if (j + r < columns) store_vector(to(j + r) + i, rows[r]);
        }
}

}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
