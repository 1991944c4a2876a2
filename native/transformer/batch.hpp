// A batch of words, read as the tree of their prefixes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernel.hpp"

namespace backproof {

// Words one after the other, each its symbols and a closing 0. Word w has the symbols from offsets[w] on, up to offsets[w + 1].
struct Words {
    std::vector<std::uint16_t> stream;
    std::vector<std::int64_t> offsets;

    std::size_t count() const { return offsets.size() - 1; }
    const std::uint16_t *begin(std::int64_t word) const { return stream.data() + offsets[word]; }
    // A word of k symbols is an example of k + 1 cells, of which the first `block` count: inputs 0, s1, .., sk with targets s1, .., sk, 0.
    int cells(std::int64_t word, int block) const {
        const std::int64_t all = offsets[word + 1] - offsets[word];
        return int(all < block ? all : block);
    }
};

// With causal attention a cell depends on the symbols up to it and on nothing else: cells with the same prefix have the same state in every layer.
// So a row is computed once for each distinct prefix, and has the targets of all its cells. The words are sorted, and the rows numbered
// in the order in which they first occur, so that all that continue a prefix follow it directly (the tree in pre-order).
class PrefixReader {
  public:
    // Room for batches of so many cells, with prefixes of at most `positions` symbols. Not `share`: each cell is a row of its own.
    PrefixReader(const Words &words, int block, int cells, int positions, bool share);

    // Reads the batch of these words; they must have no more cells, in all, than there is room for.
    void read(const std::int64_t *indices, int words);

    const Prefixes &prefixes() const { return prefixes_; }

  private:
    int shared_cells(std::int64_t before, std::int64_t word) const;
    void add_row(int depth, int symbol);
    void sort_targets();

    const Words &words_;
    const int block_, positions_;
    const bool share_;
    std::vector<std::int64_t> order_;
    std::vector<std::uint16_t> symbol_, target_, cell_target_;
    std::vector<int> depth_, end_, ancestor_, first_target_, cell_row_;
    std::vector<int> path_;  // (positions): the row of each prefix of the present word
    Prefixes prefixes_{};
};

}  // namespace backproof
