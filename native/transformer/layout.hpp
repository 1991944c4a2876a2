// Where the parameters lie: all in one flat array, each in strips, in the order in which Python gives them.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "../room.hpp"
#include "kernel.hpp"

namespace backproof {

// A shape with its sizes in strips worked out.
TransformerShape transformer_shape(int symbols, int width, int layers, int heads, int block);

struct Tensor {
    std::string name;
    std::vector<std::size_t> sizes;  // as Python sees it: one axis or two
    int rows, columns;               // the same, one axis being one row
    int head_rows, head_columns;     // numbers of a head, each of which begins at a strip of its own; 0 where there are no heads
    int room_rows, strips;           // what it takes: (strips, room_rows, 16)
    std::ptrdiff_t place;

    std::ptrdiff_t strip_floats() const { return std::ptrdiff_t(room_rows) * strip_width; }
    std::ptrdiff_t strip_place(int strip) const { return place + strip * strip_floats(); }
};

// wte, wpe, those of each layer, lnf_gain, lnf_bias, head_W.
struct LayerPlace {
    enum { ln1_gain, ln1_bias, attn_W, attn_b, proj_W, proj_b, ln2_gain, ln2_bias, fc_W, fc_b, out_W, out_b, count };
};

class Layout {
  public:
    explicit Layout(const TransformerShape &shape);

    std::size_t count() const { return tensors_.size(); }
    std::size_t floats() const { return floats_; }
    const Tensor &operator[](std::size_t i) const { return tensors_[i]; }
    int wte() const { return 0; }
    int wpe() const { return 1; }
    int of_layer(int layer, int which) const { return 2 + layer * LayerPlace::count + which; }
    int lnf_gain() const { return int(count()) - 3; }
    int lnf_bias() const { return int(count()) - 2; }
    int head_W() const { return int(count()) - 1; }

    // Between Python's arrays and the flat one, whose padding becomes 0.
    void pack(const std::vector<const float *> &from, const Room &to) const;
    void unpack(const Room &from, const std::vector<float *> &to) const;

  private:
    void add(const std::string &name, std::vector<std::size_t> sizes, int head_rows = 0, int head_columns = 0, bool summed_over = false);

    std::vector<Tensor> tensors_;
    std::size_t floats_ = 0;
};

}  // namespace backproof
