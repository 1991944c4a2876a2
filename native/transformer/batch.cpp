#include "batch.hpp"

#include <algorithm>

namespace backproof {

PrefixReader::PrefixReader(const Words &words, int block, int cells, int positions, bool share)
    : words_(words), block_(block), positions_(positions), share_(share), path_(positions) {
    const std::size_t room = std::size_t(strips_of(cells)) * strip_width;
    symbol_.resize(room);
    depth_.resize(room);
    end_.resize(room);
    ancestor_.resize(room * positions);
    first_target_.resize(room + 1);
    target_.resize(room);
    cell_row_.reserve(room);
    cell_target_.reserve(room);
    prefixes_ = {0, 0, symbol_.data(), depth_.data(), end_.data(), ancestor_.data(), int(room), first_target_.data(), target_.data()};
}

// How many cells of the word are those of the word before it.
int PrefixReader::shared_cells(std::int64_t before, std::int64_t word) const {
    const int most = std::min(words_.cells(before, block_), words_.cells(word, block_));
    const std::uint16_t *const a = words_.begin(before), *const b = words_.begin(word);
    int cells = 1;  // the empty prefix
    while (cells < most && a[cells - 1] == b[cells - 1]) ++cells;
    return cells;
}

void PrefixReader::add_row(int depth, int symbol) {
    const int row = prefixes_.rows++;
    symbol_[row] = std::uint16_t(symbol);
    depth_[row] = depth;
    path_[depth] = row;
    for (int j = 0; j < positions_; ++j) ancestor_[std::size_t(j) * prefixes_.ancestor_room + row] = j < depth ? path_[j] : row;
}

void PrefixReader::read(const std::int64_t *indices, int words) {
    prefixes_.rows = 0;
    cell_row_.clear();
    cell_target_.clear();
    order_.assign(indices, indices + words);
    if (share_) {
        std::sort(order_.begin(), order_.end(), [&](std::int64_t a, std::int64_t b) {
            return std::lexicographical_compare(words_.begin(a), words_.begin(a + 1), words_.begin(b), words_.begin(b + 1));
        });
    }
    int depth = 0;  // of the word before
    const auto leave = [&](int to) {
        for (int t = to; t < depth; ++t) end_[path_[t]] = prefixes_.rows;
    };
    for (int i = 0; i < words; ++i) {
        const std::int64_t word = order_[i];
        const std::uint16_t *const symbols = words_.begin(word);
        const int cells = words_.cells(word, block_), shared = share_ && i > 0 ? shared_cells(order_[i - 1], word) : 0;
        leave(shared);
        depth = cells;
        for (int t = shared; t < cells; ++t) add_row(t, t == 0 ? 0 : symbols[t - 1]);
        for (int t = 0; t < cells; ++t) {
            cell_row_.push_back(path_[t]);
            cell_target_.push_back(symbols[t]);  // the closing 0 is the last one's
        }
    }
    leave(0);
    prefixes_.cells = int(cell_row_.size());
    sort_targets();
    for (int row = prefixes_.rows; row % strip_width != 0; ++row) {  // that fill the last strip: any row that there is
        depth_[row] = 0;
        for (int j = 0; j < positions_; ++j) ancestor_[std::size_t(j) * prefixes_.ancestor_room + row] = 0;
    }
}

void PrefixReader::sort_targets() {
    std::fill_n(first_target_.begin(), prefixes_.rows + 1, 0);
    for (int row : cell_row_) ++first_target_[row + 1];
    for (int row = 0; row < prefixes_.rows; ++row) first_target_[row + 1] += first_target_[row];
    for (std::size_t cell = 0; cell < cell_row_.size(); ++cell) target_[first_target_[cell_row_[cell]]++] = cell_target_[cell];
    for (int row = prefixes_.rows; row > 0; --row) first_target_[row] = first_target_[row - 1];  // each has moved to its end
    first_target_[0] = 0;
}

}  // namespace backproof
