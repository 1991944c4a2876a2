#include "trainer.hpp"

#include <cstring>
#include <utility>

#include "instruction_set.hpp"

namespace backproof {

namespace {

std::size_t padded(std::size_t n) { return (n + strip_width - 1) / strip_width * strip_width; }

}  // namespace

PackedParameters::PackedParameters(const Shape &shape) : shape_(shape) {
    const std::size_t H = padded(shape.hidden), V = shape.symbols;
    const std::size_t sizes[parameter_count] = {
        V * padded(shape.embedding), H * shape.block * shape.embedding, H, H * V, padded(V), H, H};
    for (int i = 0; i < parameter_count; ++i) rooms_[i] = Room(sizes[i]);
}

namespace {

// Every cell of the original arrays, with its place in the strips. `visit(parameter, cell, place)`.
template <class Visit>
void for_each_cell(const Shape &shape, Visit visit) {
    const std::size_t V = shape.symbols, E = shape.embedding, K = std::size_t(shape.block) * E, H = shape.hidden;
    const std::size_t E_padded = padded(E);
    for (std::size_t v = 0; v < V; ++v)
        for (std::size_t k = 0; k < E; ++k) visit(0, v * E + k, v * E_padded + k);
    const auto in_strip = [](std::size_t rows, std::size_t row, std::size_t unit) {
        return (unit / strip_width * rows + row) * strip_width + unit % strip_width;
    };
    for (std::size_t k = 0; k < K; ++k)
        for (std::size_t j = 0; j < H; ++j) visit(1, k * H + j, in_strip(K, k, j));
    for (std::size_t j = 0; j < H; ++j)
        for (std::size_t v = 0; v < V; ++v) visit(3, j * V + v, in_strip(V, v, j));
    for (std::size_t v = 0; v < V; ++v) visit(4, v, v);
    for (int vector : {2, 5, 6})
        for (std::size_t j = 0; j < H; ++j) visit(vector, j, j);
}

}  // namespace

void PackedParameters::pack(const ConstPointers &from) {
    for (Room &room : rooms_) room.clear();  // the padding is zero, also after a run to infinity: 0 * infinity has made it NaN
    for_each_cell(shape_, [&](int parameter, std::size_t cell, std::size_t place) {
        // Python's arrays may lie at any address: copied by byte.
        std::memcpy(rooms_[parameter].data() + place, from[parameter] + cell, sizeof(float));
    });
}

void PackedParameters::unpack(const Pointers &to) const {
    for_each_cell(shape_, [&](int parameter, std::size_t cell, std::size_t place) { to[parameter][cell] = rooms_[parameter].data()[place]; });
}

Parameters PackedParameters::pointers() const {
    return {rooms_[0].data(), rooms_[1].data(), rooms_[2].data(), rooms_[3].data(), rooms_[4].data(), rooms_[5].data(), rooms_[6].data()};
}

Trainer::Trainer(const Shape &shape, const ConstPointers &parameters, std::vector<std::uint16_t> stream)
    : shape_(shape), kernel_(chosen_kernel()), stream_(std::move(stream)), parameters_(shape) {
    parameters_.pack(parameters);
}

void Trainer::make_room(int examples) {
    if (reader_ && reader_->batch().examples == examples) return;
    reader_.reset();
    rooms_.clear();
    auto reader = std::make_unique<BatchReader>(shape_, stream_, examples);
    const std::size_t contexts = reader->batch().context_room, pairs = reader->batch().pair_room;
    const std::size_t H = padded(shape_.hidden), V = shape_.symbols, E = shape_.embedding;
    const auto room = [&](std::size_t floats) {
        rooms_.emplace_back(floats);
        return rooms_.back().data();
    };
    work_.emb = room(padded(pairs) * E);
    work_.pair_sums = room(2 * pairs * strip_width);
    work_.bnraw = room(contexts * H);
    work_.h = room(contexts * H);
    work_.logit_maxes = room(padded(contexts));
    work_.logits = room(padded(contexts) * V);
    work_.dh = room(contexts * H);
    work_.bnvar_inv = room(H);
    work_.dpairs = room(pairs * H);
    work_.dC = room(V * padded(E));
    reader_ = std::move(reader);  // last: should memory run out above, the next call starts afresh
}

std::size_t Trainer::run(const std::int64_t *indices, std::size_t steps, int examples, const float *rates, float *losses) {
    make_room(examples);
    const Parameters parameters = parameters_.pointers();
    for (std::size_t step = 0; step < steps; ++step) {
        if (!reader_->read(indices + step * examples)) return step;
        losses[step] = kernel_.step(shape_, parameters, parameters, reader_->batch(), work_, rates[step]);
    }
    return steps;
}

bool Trainer::gradients(const std::int64_t *indices, int examples, float *loss, const Pointers &to) {
    make_room(examples);
    if (!reader_->read(indices)) return false;
    PackedParameters gradients(shape_);  // zeros: the step subtracts -1 times each gradient from them
    *loss = kernel_.step(shape_, parameters_.pointers(), gradients.pointers(), reader_->batch(), work_, -1);
    gradients.unpack(to);
    return true;
}

}  // namespace backproof
