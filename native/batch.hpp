// A batch of examples, read from the text with its repetitions found.
#pragma once
#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include "kernel.hpp"
#include "room.hpp"

namespace backproof {

// The text is one stream of symbols, `. w o r d . n e x t .`, begun by `block` zeros. Example i has stream[block + i] as its target and
// the `block` symbols before it as its context, where everything up to the nearest `.` (0) on the left reads as 0:
// words do not see each other. A symbol takes a byte where that is enough.
using Stream = std::variant<std::vector<std::uint8_t>, std::vector<std::uint16_t>>;

inline std::size_t examples_of(const Stream &stream, int block) {
    return std::visit([](const auto &symbols) { return symbols.size(); }, stream) - block;
}

// Two repetitions are found and used. Examples with the same context (in names, one in seven starts a word) share every value up to
// the logits. Contexts with the same symbol in the same position share a row of the first layer's products.
class BatchReader {
  public:
    BatchReader(const Shape &shape, const Stream &stream, int examples);

    // Reads the batch at `indices` (examples). False if an index lies outside the text.
    bool read(const std::int64_t *indices);

    const Batch &batch() const { return batch_; }

  private:
    template <class Symbols>
    void read_contexts(const Symbols &stream, const std::int64_t *indices);
    void find_contexts();
    void sort_examples();
    void find_pairs();

    const int block_, symbols_;
    const Stream &stream_;
    std::vector<int> context_of_, example_of_, example_by_strip_, first_example_;
    const int table_bits_;
    std::vector<int> table_;  // contexts by hash, or -1
    std::vector<int> pair_of_, pair_begin_, pair_end_, by_pair_, goes_on_;
    std::vector<int> pair_with_;  // (symbols): the pair, in one position
    std::vector<int> place_of_;   // (symbols): how many contexts have it there, then the next one's place in by_pair; else 0
    std::vector<std::uint16_t> target_, inside_, contexts_, symbol_of_;
    std::vector<std::uint64_t> hash_;
    Room count_;
    Batch batch_{};
};

}  // namespace backproof
