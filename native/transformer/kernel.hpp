// The contract between the Transformer's trainer (memory, checks, Python) and its arithmetic (step.cpp), which is compiled once for
// each instruction set: see ../kernel.hpp for why everything that crosses is a plain number or pointer, and for what a strip is.
//
// Layout
// ------
// Every matrix (rows, n) is in strips: (strips of n, rows, 16), padded with zeros. Axes that a product sums over are padded to whole strips
// as well, so that no loop has a remainder. Each head of the attention begins at a strip of its own.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../kernel.hpp"

namespace backproof {

struct TransformerShape {
    int symbols, width, layers, heads, block;
    // In strips: a row of the width, one head, all heads, the inner layer (4 * width), the logits.
    int row_strips, head_strips, attention_strips, inner_strips, logit_strips;
};

// The batch as a tree of prefixes (batch.hpp). A row is a distinct prefix; rows are numbered so that all that continue a prefix follow it
// directly. Pointers to rows have room for whole strips of 16 of them.
struct Prefixes {
    int cells;  // live cells of the batch: examples of the mean loss
    int rows;
    const std::uint16_t *symbol;  // the prefix's last symbol
    const int *depth;             // and its position
    const int *end;               // one past the last row that continues it, or is it
    const int *ancestor;          // (positions, ancestor_room): the prefix that ends at this position; the row itself beyond its own position
    int ancestor_room;
    const int *first_target;      // (rows + 1): where the targets of its cells begin
    const std::uint16_t *target;  // (cells)
};

// x @ weight + bias: weight (out strips, 16 * in strips, 16), turned = weight transposed (in strips, 16 * out strips, 16).
struct Linear {
    const float *weight;
    float *turned;
    const float *bias;  // may be null
    int in, out;
};

struct Norm {
    const float *gain, *bias;
};

struct LayerWeights {
    Norm ln1, ln2;
    Linear attn, proj, fc, out;
};

// Of layer normalisation: normal = (x - mean) * inverse, out = gain * normal + bias.
struct NormValues {
    float *normal, *out;
    float *inverse;  // (rows)
};

// What the backward pass needs of a layer. In strips of (row_room, 16) each, but for probs.
struct LayerValues {
    NormValues ln1, ln2;
    float *qkv;       // queries, keys and values, each by heads
    float *probs;     // (heads, positions, ancestor_room): how much each row attends to its ancestor there
    float *attended;  // what comes of it, by heads
    float *gelu, *slope;
};

// Gradients, while they are on their way through a layer: of what stands between attention and inner layer, of the inner layer before gelu, of
// qkv, and of what the normalisations gave.
struct LayerGradients {
    float *mid, *inner, *qkv, *ln1, *ln2;
};

// All that lives from one phase of the step to another.
struct TransformerMemory {
    TransformerShape shape;
    int positions;           // of probs: as many as the longest prefix has
    std::ptrdiff_t strip;    // floats from one strip of a matrix of rows to the next: 16 * row_room
    const float *wte, *wpe;  // (row strips, symbols or block, 16)
    const LayerWeights *weights;
    Norm lnf_weights;
    Linear head;
    float *x;
    const LayerValues *layers;
    NormValues lnf;
    float *logits;              // then dlogits
    double *losses;             // (rows)
    LayerGradients gradients;   // of the layer that the backward pass is in
    float *dout[2];             // the gradient of layer l's output is dout[l % 2]; that of its input the other
    float *dlnf, *dattended;
    float *dscores;  // (heads, positions, ancestor_room)
};

// Rows, or strips of them, or columns, that one thread does: first..last, one past its last.
struct Span {
    int first, last;
};

// Places in the flat array of all parameters.
struct Piece {
    std::ptrdiff_t place, floats;
    int tensor;
};

// One strip of columns of a layer's parameters: what is summed over the rows for it, and updated with it, by one thread.
struct Column {
    enum Kind { linear, norm, embedding } kind;
    const float *values;  // x, or normal, of what is linear in the parameters
    const float *dy;      // one strip
    int in;               // linear: strips of values
    float *turned;        // linear: its place in the transposed copy
    std::ptrdiff_t turned_strip;
    Piece weight, bias;  // or gain and bias, or wte and wpe; bias.floats may be 0
};

// AdamW's numbers for one step.
struct AdamW {
    float keep;                      // 1 - rate * decay, where there is decay
    float beta1, rest1, beta2, rest2;  // rest = 1 - beta
    float correction;                // 1 / sqrt(1 - beta2^t)
    float epsilon;
    float rate;   // rate / (1 - beta1^t)
    float scale;  // of the gradient, if it is clipped; else 1
};

// Flat arrays, all of one layout.
struct Flat {
    float *parameters, *gradients, *means, *squares;
};

struct TransformerKernel {
    const char *name;
    // Row by row. Forward, between two meetings of the threads each:
    void (*embed)(const TransformerMemory &, const Prefixes &, Span rows);
    void (*before_attention)(const TransformerMemory &, int layer, Span rows);
    void (*attention)(const TransformerMemory &, const Prefixes &, int layer, Span strips);  // of rows
    void (*after_attention)(const TransformerMemory &, int layer, Span rows);
    // The head, forward and back, leaves each row's share of the loss.
    void (*head)(const TransformerMemory &, const Prefixes &, Span rows);
    void (*after_attention_backward)(const TransformerMemory &, int layer, Span rows);
    void (*attention_backward)(const TransformerMemory &, const Prefixes &, int layer, Span strips);
    void (*before_attention_backward)(const TransformerMemory &, const Prefixes &, int layer, Span rows);
    // Column by column: the gradient of a column's parameters; the sum of its squares; the update, transposed copies included.
    void (*sum_over_rows)(const TransformerMemory &, const Prefixes &, const Column &, float *gradients);
    double (*sum_of_squares)(const Column &, const float *gradients);
    void (*update)(const Column &, const Flat &, const AdamW &, bool weight_decays, bool bias_decays);
    void (*turn)(const Column &, const float *parameters);
};

}  // namespace backproof
