// The network in training: owns the parameters in strips, the text and the workspace. Knows nothing of Python.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "batch.hpp"
#include "kernel.hpp"
#include "room.hpp"

namespace backproof {

// C, W1, b1, W2, b2, bngain, bnbias, in this order and row by row, as Python sees them.
constexpr int parameter_count = 7;
using Pointers = std::array<float *, parameter_count>;
using ConstPointers = std::array<const float *, parameter_count>;

// The seven parameters, or their gradients, in the kernel's layout.
class PackedParameters {
  public:
    explicit PackedParameters(const Shape &shape);
    void pack(const ConstPointers &from);
    void unpack(const Pointers &to) const;
    Parameters pointers() const;

  private:
    Shape shape_;
    std::array<Room, parameter_count> rooms_;
};

class Trainer {
  public:
    // `stream` as described in batch.hpp; every symbol below shape.symbols.
    Trainer(const Shape &shape, const ConstPointers &parameters, std::vector<std::uint16_t> stream);

    // One step for each row of `indices` (steps, examples). Returns the number of steps done: all, or fewer if an index lies outside.
    std::size_t run(const std::int64_t *indices, std::size_t steps, int examples, const float *rates, float *losses);

    // The loss and the seven gradients of one batch; no parameter changes. False if an index lies outside.
    bool gradients(const std::int64_t *indices, int examples, float *loss, const Pointers &to);

    void parameters(const Pointers &to) const { parameters_.unpack(to); }
    void load(const ConstPointers &from) { parameters_.pack(from); }

    const Shape &shape() const { return shape_; }
    const char *instruction_set() const { return kernel_.name; }
    std::size_t examples_in_text() const { return stream_.size() - shape_.block; }

  private:
    void make_room(int examples);

    const Shape shape_;
    const Kernel &kernel_;
    const std::vector<std::uint16_t> stream_;
    PackedParameters parameters_;
    std::unique_ptr<BatchReader> reader_;
    std::vector<Room> rooms_;
    Workspace work_{};
};

}  // namespace backproof
