#include "layout.hpp"

#include <cstring>
#include <utility>

namespace backproof {

namespace {

// Where number i comes to lie when each `head` numbers begin at a strip of their own.
int placed(int i, int head) { return head == 0 ? i : i / head * strips_of(head) * strip_width + i % head; }

// Every number of a tensor as Python sees it, with its place in the flat array. `visit(number, place)`.
template <class Visit>
void for_each_number(const Tensor &tensor, Visit visit) {
    std::size_t number = 0;
    for (int row = 0; row < tensor.rows; ++row)
        for (int column = 0; column < tensor.columns; ++column) {
            const int at_row = placed(row, tensor.head_rows), at = placed(column, tensor.head_columns);
            visit(number++, tensor.strip_place(at / strip_width) + std::ptrdiff_t(at_row) * strip_width + at % strip_width);
        }
}

}  // namespace

TransformerShape transformer_shape(int symbols, int width, int layers, int heads, int block) {
    const int head = strips_of(width / heads);
    return {symbols, width, layers, heads, block, strips_of(width), head, heads * head, strips_of(4 * width), strips_of(symbols)};
}

Layout::Layout(const TransformerShape &shape) {
    const std::size_t V = shape.symbols, T = shape.block, W = shape.width;
    const int head = shape.width / shape.heads;
    add("wte", {V, W});
    add("wpe", {T, W});
    for (int layer = 0; layer < shape.layers; ++layer) {
        const std::string of = "layer " + std::to_string(layer) + "'s ";
        add(of + "ln1_gain", {W});
        add(of + "ln1_bias", {W});
        add(of + "attn_W", {W, 3 * W}, 0, head, true);
        add(of + "attn_b", {3 * W}, 0, head);
        add(of + "proj_W", {W, W}, head, 0, true);
        add(of + "proj_b", {W});
        add(of + "ln2_gain", {W});
        add(of + "ln2_bias", {W});
        add(of + "fc_W", {W, 4 * W}, 0, 0, true);
        add(of + "fc_b", {4 * W});
        add(of + "out_W", {4 * W, W}, 0, 0, true);
        add(of + "out_b", {W});
    }
    add("lnf_gain", {W});
    add("lnf_bias", {W});
    add("head_W", {W, V}, 0, 0, true);
}

void Layout::add(const std::string &name, std::vector<std::size_t> sizes, int head_rows, int head_columns, bool summed_over) {
    Tensor tensor{name, std::move(sizes), 1, 0, head_rows, head_columns, 0, 0, std::ptrdiff_t(floats_)};
    if (tensor.sizes.size() == 2) tensor.rows = int(tensor.sizes[0]);
    tensor.columns = int(tensor.sizes.back());
    tensor.room_rows = placed(tensor.rows - 1, head_rows) + 1;
    if (summed_over) tensor.room_rows = strips_of(tensor.room_rows) * strip_width;
    tensor.strips = placed(tensor.columns - 1, head_columns) / strip_width + 1;
    floats_ += std::size_t(tensor.strips) * tensor.strip_floats();
    tensors_.push_back(std::move(tensor));
}

void Layout::pack(const std::vector<const float *> &from, const Room &to) const {
    std::memset(to.data(), 0, floats_ * sizeof(float));  // the padding too, also after a run to infinity: 0 * infinity has made it NaN
    for (std::size_t i = 0; i < count(); ++i)
        // Python's arrays may lie at any address: copied by byte.
        for_each_number(tensors_[i], [&](std::size_t number, std::ptrdiff_t place) {
            std::memcpy(to.data() + place, from[i] + number, sizeof(float));
        });
}

void Layout::unpack(const Room &from, const std::vector<float *> &to) const {
    for (std::size_t i = 0; i < count(); ++i)
        for_each_number(tensors_[i], [&](std::size_t number, std::ptrdiff_t place) { to[i][number] = from.data()[place]; });
}

}  // namespace backproof
