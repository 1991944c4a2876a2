// The contract between the trainer (memory, checks, Python) and the arithmetic (native/kernel/).
//
// The arithmetic is compiled once for each instruction set, from the same source, and reached through one table of
// functions. Everything that crosses is a plain number or pointer: were a std:: template instantiated on both sides,
// the linker could keep the copy that was compiled for AVX-512, and an older processor would stop on it.
//
// Layout: strips
// --------------
// A strip is 16 float32 values: one cache line, one AVX-512 register, two of AVX2, four of SSE2 or NEON. Every matrix is
// cut into strips along the axis that the vectors run along, and stored strip by strip: (rows, H) becomes
// (strips, rows, 16), H padded with zeros to a multiple of 16. So whatever the size, every inner loop reads
// memory from front to back, and no row stride can be a power of two that sends all rows to one cache set.
// Along the hidden units there is a second reason: batch normalisation and tanh never mix two hidden units, so the
// whole of a layer can be done strip by strip while the strip lies in the first-level cache.
#pragma once
#include <cstddef>
#include <cstdint>

namespace backproof {

constexpr int strip_width = 16;

template <class Integer>
static constexpr Integer strips_of(Integer n) {
    return (n + strip_width - 1) / strip_width;
}

// The sizes of the network. C is (symbols, embedding), W1 (block * embedding, hidden), W2 (hidden, symbols).
struct Shape {
    int symbols, embedding, block, hidden;
    int correction;  // batch normalisation divides the variance by n - correction
    float epsilon;   // added to the variance
};

// The seven parameters, or as many gradients, in strips. The comments give the stored order.
struct Parameters {
    float *C;       // (symbols, embedding padded): a symbol's row starts at a strip of its own
    float *W1;      // (hidden strips, block * embedding, 16)
    float *b1;      // (hidden strips, 16)
    float *W2;      // (hidden strips, symbols, 16): W2 transposed, as the backward pass reads it
    float *b2;      // (symbols padded to 16)
    float *bngain;  // (hidden strips, 16)
    float *bnbias;  // (hidden strips, 16)
};

// One batch, with its repetitions found (see batch.hpp): "contexts" are the distinct contexts of its examples,
// "pairs" the distinct (position, symbol) pairs of its contexts. Pairs are numbered position by position, each position from a
// multiple of 16 of its own; the numbers between one position's last pair and the next one's first are not used.
struct Batch {
    int examples;                    // n
    int contexts;                    // distinct contexts, at most n
    const int *context_of;           // (examples): its context
    const std::uint16_t *target;     // (examples): its next symbol
    const float *count;              // (contexts padded to 16): how many examples have it; 0 in the padding
    const int *example_by_strip;     // (examples): those of the first 16 contexts, then those of the next 16, ...
    const int *first_example;        // (context strips + 1): where each 16's examples begin there
    const int *pair_of;              // (block, context_room): the pair at this position; the padding repeats context 0
    const int *pair_begin;           // (block): the position's first pair
    const int *pair_end;             // (block): one past its last pair
    const std::uint16_t *symbol_of;  // (pairs): the pair's symbol
    const int *by_pair;              // (block, context_room): the contexts, those with the position's first pair first, and so on
    const int *goes_on;              // (block, context_room): -1 where a context there has the pair of the one before, else 0
    // Rows from one hidden strip to the next. Odd, so that the strips of one context do not all fall into a few cache sets.
    int context_room, pair_room;
};

// A sum over the hidden units is a sum over groups of strips, in pairs of pairs: ((g0 + g1) + (g2 + g3)) + ... The groups depend on the
// network alone and the order on nothing at all, so that it has the same bits by however many threads it is made.
constexpr int most_halvings = 4, most_groups = 1 << most_halvings;

struct Addition {
    int to, from;  // group `from`, or what has been added to it, comes to group `to`
};

// What one of the threads that make a step does of it: all that is of its hidden strips, and in between of its share of the contexts.
// It owns whole groups of strips. What it can of the sum over the groups it adds up itself (`own`); what is left by each (`left`,
// group by group) is added up by whoever needs the sum (`between`).
struct Part {
    int number, parts;
    int first_group, last_group;      // one past its last
    const int *first_strip;           // (groups + 1): of each group
    const Addition *own, *between;    // in the order in which they are to be made
    int own_count, between_count;
    const int *left;                  // (left_count): its own groups that hold a sum after that
    int left_count;
};

// Values that live from one block of the step to another. The rows that no context fills are finite.
struct Workspace {
    // One for each thread.
    float *C;          // (symbols, embedding padded): the thread's own, updated by each alike, so that none waits for another's
    float *emb;        // (pair strips, embedding, 16): C[symbol_of], transposed
    float *pair_sums;  // (2, pair_room, 16): the pair table, one hidden strip and the next
    // One for all.
    float *bnraw;          // (hidden strips, context_room, 16)
    float *bnvar_inv;      // (hidden strips, 16)
    float *h;              // (hidden strips, context_room, 16)
    float *const *logits;  // (groups): of those that are left to be added up, (context strips, symbols, 16)
                           // each; then those of group 0 are logits transposed, then counts, then dlogits
    float *logit_maxes;    // (contexts padded to 16)
    double *losses;        // (context strips)
    float *dh;             // (hidden strips, context_room, 16): h turned, contexts along the lanes; then dh, dhpreact, dhprebn
    float *dpairs;         // (hidden strips, pair_room, 16): dhprebn, summed over the contexts that share a pair
    float *demb;           // (groups, pair_room, embedding padded): demb, summed over the strips of a group
};

struct Kernel {
    const char *name;
    // One training step is these four, one after the other; a part begins with one when all parts are done with the one before. They
    // subtract rate * gradient from `write`. Gradients are taken at `read`; the two are the same memory in training. With `write`
    // zeroed and rate -1, `write` receives the gradients themselves. C is read from the workspace, and the loss left there,
    // a share from each strip of contexts.
    void (*forward)(const Shape &, const Parameters &read, const Batch &, const Workspace &, const Part &);
    void (*loss)(const Shape &, const Parameters &read, const Batch &, const Workspace &, const Part &);
    void (*backward)(const Shape &, const Parameters &read, const Parameters &write, const Batch &, const Workspace &, const Part &, float rate);
    void (*update_embedding)(const Shape &, float *C, const Batch &, const Workspace &, const Part &, float rate);
    // Multiply-adds on registers and nothing else; returns the float operations done.
    double (*multiply_adds)(long rounds);
    // The elementary functions as the step computes them, on `size` floats, a multiple of 16; exp for x <= 0, log for x >= 1.
    void (*tanh)(const float *, float *, std::ptrdiff_t size);
    void (*exp)(const float *, float *, std::ptrdiff_t size);
    void (*log)(const float *, float *, std::ptrdiff_t size);
};

}  // namespace backproof
