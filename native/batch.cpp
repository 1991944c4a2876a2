#include "batch.hpp"

#include <algorithm>

namespace backproof {

namespace {

constexpr int padded(int n) { return strips_of(n) * strip_width; }

// A table at most one eighth full: hardly two contexts want the same slot.
int bits_for(int examples) {
    int bits = 4;
    while ((std::size_t(1) << bits) < 8 * std::size_t(examples)) ++bits;
    return bits;
}

}  // namespace

BatchReader::BatchReader(const Shape &shape, const Stream &stream, int examples)
    : block_(shape.block),
      symbols_(shape.symbols),
      stream_(stream),
      context_of_(examples),
      example_of_(examples),
      example_by_strip_(examples),
      first_example_(strips_of(examples) + 1),
      table_bits_(bits_for(examples)),
      table_(std::size_t(1) << table_bits_),
      pair_begin_(shape.block),
      pair_end_(shape.block),
      pair_with_(shape.symbols),
      place_of_(shape.symbols),
      target_(examples),
      inside_(examples),
      contexts_(std::size_t(examples) * shape.block),
      hash_(examples) {
    const int pairs = padded(std::min(examples, shape.symbols));
    batch_.examples = examples;
    batch_.context_room = padded(examples) + 1;
    batch_.pair_room = shape.block * pairs + 1;
    pair_of_.resize(std::size_t(shape.block) * batch_.context_room);
    by_pair_.resize(std::size_t(shape.block) * batch_.context_room);
    goes_on_.resize(std::size_t(shape.block) * batch_.context_room);
    symbol_of_.resize(batch_.pair_room + 1);
    for (int position = 0; position < block_; ++position) pair_begin_[position] = position * pairs;
    count_ = Room(padded(examples));

    batch_.context_of = context_of_.data();
    batch_.target = target_.data();
    batch_.count = count_.data();
    batch_.example_by_strip = example_by_strip_.data();
    batch_.first_example = first_example_.data();
    batch_.pair_of = pair_of_.data();
    batch_.pair_begin = pair_begin_.data();
    batch_.pair_end = pair_end_.data();
    batch_.symbol_of = symbol_of_.data();
    batch_.by_pair = by_pair_.data();
    batch_.goes_on = goes_on_.data();
}

bool BatchReader::read(const std::int64_t *indices) {
    const std::uint64_t examples_in_text = examples_of(stream_, block_);
    for (int e = 0; e < batch_.examples; ++e)
        if (std::uint64_t(indices[e]) >= examples_in_text) return false;
    std::visit([&](const auto &symbols) { read_contexts(symbols, indices); }, stream_);
    find_contexts();
    sort_examples();
    find_pairs();
    return true;
}

// Position by position and not example by example: the examples lie all over the text, and so their cache misses overlap.
template <class Symbols>
void BatchReader::read_contexts(const Symbols &stream, const std::int64_t *indices) {
    const int n = batch_.examples;
    for (int e = 0; e < n; ++e) target_[e] = stream[indices[e] + block_];
    std::fill(inside_.begin(), inside_.end(), std::uint16_t(0xffff));  // 0 once the word's beginning has been passed
    std::fill(hash_.begin(), hash_.end(), 0);
    for (int position = block_ - 1; position >= 0; --position) {
        const auto *const text = stream.data() + position;
        std::uint16_t *const context = contexts_.data() + std::size_t(position) * n;
        for (int e = 0; e < n; ++e) {
            const std::uint16_t symbol = text[indices[e]];
            inside_[e] = symbol ? inside_[e] : 0;
            context[e] = symbol & inside_[e];
            hash_[e] = (hash_[e] + context[e] + 1) * 0x9e3779b97f4a7c15u;
        }
    }
}

// Numbers the distinct contexts in the order they come in, and counts their examples.
void BatchReader::find_contexts() {
    const int n = batch_.examples;
    const std::size_t mask = table_.size() - 1;
    std::fill(table_.begin(), table_.end(), -1);
    count_.clear();
    float *const count = count_.data();
    const auto same = [&](int e, int other) {
        if (hash_[e] != hash_[other]) return false;
        for (int position = 0; position < block_; ++position)
            if (contexts_[std::size_t(position) * n + e] != contexts_[std::size_t(position) * n + other]) return false;
        return true;
    };
    int contexts = 0;
    for (int e = 0; e < n; ++e) {
        std::size_t slot = hash_[e] >> (64 - table_bits_);
        while (table_[slot] >= 0 && !same(e, example_of_[table_[slot]])) slot = (slot + 1) & mask;
        int i = table_[slot];
        if (i < 0) {
            i = table_[slot] = contexts++;
            example_of_[i] = e;
        }
        context_of_[e] = i;
        count[i] += 1;
    }
    batch_.contexts = contexts;
}

// By the strip of their contexts, and else in their order.
void BatchReader::sort_examples() {
    const int strips = strips_of(batch_.contexts);
    const float *const count = count_.data();
    int begin = 0;
    for (int s = 0; s < strips; ++s) {
        first_example_[s] = begin;
        for (int i = s * strip_width; i < (s + 1) * strip_width; ++i) begin += int(count[i]);
    }
    for (int e = 0; e < batch_.examples; ++e) example_by_strip_[first_example_[context_of_[e] / strip_width]++] = e;
    for (int s = strips; s > 0; --s) first_example_[s] = first_example_[s - 1];  // each has come to the next one's begin
    first_example_[0] = 0;
}

// Numbers the symbols that occur in each position, in their order, and sorts the contexts by them.
void BatchReader::find_pairs() {
    const int n = batch_.examples, contexts = batch_.contexts, room = batch_.context_room;
    for (int position = 0; position < block_; ++position) {
        const std::uint16_t *const symbol_at = contexts_.data() + std::size_t(position) * n;
        const std::size_t row = std::size_t(position) * room;
        int *const pair_of = pair_of_.data() + row, *const by_pair = by_pair_.data() + row, *const goes_on = goes_on_.data() + row;
        int *const pair_with = pair_with_.data(), *const place_of = place_of_.data();
        for (int i = 0; i < contexts; ++i) ++place_of[symbol_at[example_of_[i]]];
        std::fill(goes_on, goes_on + contexts, -1);
        int end = pair_begin_[position], place = 0;
        for (int symbol = 0; symbol < symbols_; ++symbol) {
            const int met = place_of[symbol];
            symbol_of_[end] = std::uint16_t(symbol);  // overwritten by the next one, unless met
            pair_with[symbol] = end;
            place_of[symbol] = place;
            goes_on[place] = 0;
            place += met;
            end += met > 0;
        }
        pair_end_[position] = end;
        for (int i = 0; i < contexts; ++i) {
            const int symbol = symbol_at[example_of_[i]];
            pair_of[i] = pair_with[symbol];
            by_pair[place_of[symbol]++] = i;
        }
        std::fill(pair_of + contexts, pair_of + room, pair_of[0]);
        std::fill(place_of, place_of + symbols_, 0);
    }
}

}  // namespace backproof
