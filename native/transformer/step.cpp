// One training step of the Transformer, in the order of the rules, a phase a call. Compiled once for each instruction set, in a namespace of
// its own.
#include "adamw.hpp"
#include "attention.hpp"
#include "embedding.hpp"
#include "gelu.hpp"
#include "head.hpp"
#include "layernorm.hpp"
#include "product.hpp"

namespace backproof {
namespace KERNEL_NAMESPACE {
namespace transformer {
namespace {

// Rows that go through a phase together, so that what one rule leaves is in the second-level cache for the next.
constexpr int rows_at_once = 192;

template <class F>
INLINE void for_pieces(Span rows, F f) {
    for (int first = rows.first; first < rows.last; first += rows_at_once)
        f(Span{first, rows.last - first < rows_at_once ? rows.last : first + rows_at_once});
}

void embed(const TransformerMemory &memory, const Prefixes &batch, Span rows) { KERNEL_NAMESPACE::embed(memory, batch, rows); }

// x -> ln1 -> qkv
void before_attention(const TransformerMemory &memory, int layer, Span rows) {
    const LayerWeights &weights = memory.weights[layer];
    const LayerValues &of = memory.layers[layer];
    for_pieces(rows, [&](Span some) {
        layernorm(memory.shape, some, memory.strip, memory.x, weights.ln1, of.ln1);
        linear<false>(weights.attn, some, memory.strip, of.ln1.out, of.qkv, nothing);
    });
}

// The keys, or the values, of a matrix of queries, keys and values, begin at this strip.
INLINE std::ptrdiff_t keys(const TransformerMemory &memory) { return memory.shape.attention_strips * memory.strip; }
INLINE std::ptrdiff_t values(const TransformerMemory &memory) { return 2 * keys(memory); }

// Rows of whole strips.
INLINE Span rows_of(const Prefixes &batch, Span strips) {
    return {strips.first * strip_width, strips.last * strip_width < batch.rows ? strips.last * strip_width : batch.rows};
}

// qkv -> probs, attended
void attention(const TransformerMemory &memory, const Prefixes &batch, int layer, Span strips) {
    const LayerValues &of = memory.layers[layer];
    attention_forward(Attention(memory, batch), of.qkv, of.qkv + keys(memory), of.qkv + values(memory), rows_of(batch, strips), of.probs,
                      of.attended);
}

// x += proj(attended); x -> ln2 -> inner layer, gelu; x += out
void after_attention(const TransformerMemory &memory, int layer, Span rows) {
    const LayerWeights &weights = memory.weights[layer];
    const LayerValues &of = memory.layers[layer];
    for_pieces(rows, [&](Span some) {
        linear<true>(weights.proj, some, memory.strip, of.attended, memory.x, nothing);
        layernorm(memory.shape, some, memory.strip, memory.x, weights.ln2, of.ln2);
        const std::ptrdiff_t floats = std::ptrdiff_t(some.last - some.first) * strip_width;
        linear<false>(weights.fc, some, memory.strip, of.ln2.out, of.gelu,
                      [&](float *inner, int) { gelu(floats, inner, of.slope + (inner - of.gelu)); });
        linear<true>(weights.out, some, memory.strip, of.gelu, memory.x, nothing);
    });
}

// x -> lnf -> logits -> losses, and back to the gradient of x, which is that of the last layer's output
void head(const TransformerMemory &memory, const Prefixes &batch, Span rows) {
    float *const dx = memory.dout[(memory.shape.layers - 1) % 2];
    for_pieces(rows, [&](Span some) {
        layernorm(memory.shape, some, memory.strip, memory.x, memory.lnf_weights, memory.lnf);
        linear<false>(memory.head, some, memory.strip, memory.lnf.out, memory.logits, nothing);
        for (int r = some.first; r < some.last; ++r)
            memory.losses[r] = cross_entropy(memory.shape, batch, r, memory.strip, memory.logits + std::ptrdiff_t(r) * strip_width);
        linear_backward(memory.head, some, memory.strip, memory.logits, memory.dlnf, nothing);
        layernorm_backward(memory.shape, some, memory.strip, memory.dlnf, memory.lnf_weights, memory.lnf, nullptr, dx);
    });
}

// From the gradient of the layer's output to those of mid, and of what the attention gave
void after_attention_backward(const TransformerMemory &memory, int layer, Span rows) {
    const LayerWeights &weights = memory.weights[layer];
    const LayerValues &of = memory.layers[layer];
    const LayerGradients &gradients = memory.gradients;
    for_pieces(rows, [&](Span some) {
        const std::ptrdiff_t floats = std::ptrdiff_t(some.last - some.first) * strip_width;
        linear_backward(weights.out, some, memory.strip, memory.dout[layer % 2], gradients.inner, [&](float *inner, int) {
            const float *const slope = of.slope + (inner - gradients.inner);
            for (std::ptrdiff_t i = 0; i < floats; i += strip_width) store(inner + i, load(inner + i) * load(slope + i));
        });
        linear_backward(weights.fc, some, memory.strip, gradients.inner, gradients.ln2, nothing);
        layernorm_backward(memory.shape, some, memory.strip, gradients.ln2, weights.ln2, of.ln2, memory.dout[layer % 2], gradients.mid);
        linear_backward(weights.proj, some, memory.strip, gradients.mid, memory.dattended, nothing);
    });
}

// dattended -> dscores, dq
void attention_backward(const TransformerMemory &memory, const Prefixes &batch, int layer, Span strips) {
    const LayerValues &of = memory.layers[layer];
    attention_backward_rows(Attention(memory, batch), of.qkv + keys(memory), of.qkv + values(memory), of.probs, memory.dattended,
                            rows_of(batch, strips), memory.dscores, memory.gradients.qkv);
}

// dscores -> dk, dv; dqkv -> the gradient of the layer's input, which is that of the output of the layer before
void before_attention_backward(const TransformerMemory &memory, const Prefixes &batch, int layer, Span rows) {
    const LayerWeights &weights = memory.weights[layer];
    const LayerValues &of = memory.layers[layer];
    const LayerGradients &gradients = memory.gradients;
    attention_backward_ancestors(Attention(memory, batch), of.qkv, of.probs, memory.dattended, memory.dscores, rows,
                                 gradients.qkv + keys(memory), gradients.qkv + values(memory));
    for_pieces(rows, [&](Span some) {
        linear_backward(weights.attn, some, memory.strip, gradients.qkv, gradients.ln1, nothing);
        layernorm_backward(memory.shape, some, memory.strip, gradients.ln1, weights.ln1, of.ln1, gradients.mid, memory.dout[(layer + 1) % 2]);
    });
}

void sum_over_rows(const TransformerMemory &memory, const Prefixes &batch, const Column &column, float *gradients) {
    const auto row = [&](int r) { return load(column.dy + std::ptrdiff_t(r) * strip_width); };
    if (column.kind == Column::embedding) {
        embedding_gradient(batch, column.dy, column.weight, column.bias, gradients);
        return;
    }
    if (column.kind == Column::linear)
        weight_gradient(column.in, column.values, memory.strip, column.dy, batch.rows, gradients + column.weight.place);
    else
        store(gradients + column.weight.place,
              sum_of_rows(batch.rows, [&](int r) { return row(r) * load(column.values + std::ptrdiff_t(r) * strip_width); }));
    if (column.bias.floats > 0) store(gradients + column.bias.place, sum_of_rows(batch.rows, row));
}

double sum_of_squares(const Column &column, const float *gradients) {
    return KERNEL_NAMESPACE::sum_of_squares(column.weight, gradients) + KERNEL_NAMESPACE::sum_of_squares(column.bias, gradients);
}

// The column's strip of the transposed copy.
void turn(const Column &column, const float *parameters) {
    if (column.kind != Column::linear) return;
    const float *const from = parameters + column.weight.place;
    for (int s = 0; s < column.in; ++s)
        transpose([&](int i) { return from + std::ptrdiff_t(s * strip_width + i) * strip_width; },
                  [&](int j) { return column.turned + s * column.turned_strip + std::ptrdiff_t(j) * strip_width; }, strip_width);
}

void update(const Column &column, const Flat &flat, const AdamW &numbers, bool weight_decays, bool bias_decays) {
    adamw(column.weight, flat, numbers, weight_decays);
    adamw(column.bias, flat, numbers, bias_decays);
    turn(column, flat.parameters);
}

}  // namespace

extern const TransformerKernel kernel;
const TransformerKernel kernel = {KERNEL_NAME, embed, before_attention, attention, after_attention, head, after_attention_backward,
                                  attention_backward, before_attention_backward, sum_over_rows, sum_of_squares, update, turn};

}  // namespace transformer
}  // namespace KERNEL_NAMESPACE
}  // namespace backproof
