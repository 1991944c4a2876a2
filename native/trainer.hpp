// The network in training: owns the parameters in strips, the text and the workspace. Knows nothing of Python.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "batch.hpp"
#include "division.hpp"
#include "kernel.hpp"
#include "room.hpp"
#include "team.hpp"

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
    Trainer(const Shape &shape, const ConstPointers &parameters, Stream stream);

    // One step for each row of `indices` (steps, examples), by so many threads, or as many as can have a part. The bits are the same by
    // any number of them. Returns the number of steps done: all, or fewer if an index lies outside.
    std::size_t run(const std::int64_t *indices, std::size_t steps, int examples, const float *rates, float *losses, int threads);

    // The loss and the seven gradients of one batch; no parameter changes. False if an index lies outside.
    bool gradients(const std::int64_t *indices, int examples, float *loss, const Pointers &to);

    void parameters(const Pointers &to) const { parameters_.unpack(to); }
    void load(const ConstPointers &from) { parameters_.pack(from); }

    const Shape &shape() const { return shape_; }
    const char *instruction_set() const { return kernel_.name; }
    std::size_t examples_in_text() const { return examples_of(stream_, shape_.block); }

  private:
    float *room(std::size_t floats);
    void make_room(int examples);
    const Division &divided(int threads);  // with room for its parts
    float mean_loss(const Batch &batch) const;

    const Shape shape_;
    const Kernel &kernel_;
    const Stream stream_;
    PackedParameters parameters_;
    std::array<std::unique_ptr<BatchReader>, 2> readers_;  // the batch of this step, and of the next
    std::unique_ptr<Division> division_;
    std::vector<Room> rooms_;
    std::vector<float *> logits_;
    std::vector<double> losses_;
    Workspace shared_{};           // what is one for all threads
    std::vector<Workspace> work_;  // and with what each has for itself
    Team team_;
};

}  // namespace backproof
