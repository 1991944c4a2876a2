#include "trainer.hpp"

#include <algorithm>
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

Trainer::Trainer(const Shape &shape, const ConstPointers &parameters, Stream stream)
    : shape_(shape), kernel_(chosen_kernel()), stream_(std::move(stream)), parameters_(shape) {
    parameters_.pack(parameters);
}

float *Trainer::room(std::size_t floats) {
    rooms_.emplace_back(floats);
    return rooms_.back().data();
}

void Trainer::make_room(int examples) {
    if (readers_[1] && readers_[1]->batch().examples == examples) return;
    readers_[1].reset();
    rooms_.clear();
    work_.clear();
    readers_[0] = std::make_unique<BatchReader>(shape_, stream_, examples);
    const std::size_t contexts = readers_[0]->batch().context_room, pairs = readers_[0]->batch().pair_room;
    const std::size_t H = padded(shape_.hidden), groups = groups_of(shape_);
    logits_.assign(groups, nullptr);
    losses_.assign(strips_of(contexts), 0);
    shared_.bnraw = room(contexts * H);
    shared_.h = room(contexts * H);
    shared_.logits = logits_.data();
    shared_.logit_maxes = room(padded(contexts));
    shared_.losses = losses_.data();
    shared_.dh = room(contexts * H);
    shared_.bnvar_inv = room(H);
    shared_.dpairs = room(pairs * H);
    shared_.demb = room(groups * pairs * padded(shape_.embedding));
    readers_[1] = std::make_unique<BatchReader>(shape_, stream_, examples);  // last: should memory run out above, the next call starts afresh
}

const Division &Trainer::divided(int threads) {
    const Batch &batch = readers_[0]->batch();
    if (!division_ || division_->threads() != threads) division_ = std::make_unique<Division>(shape_, threads);
    for (int group : division_->left())
        if (!logits_[group]) logits_[group] = room(padded(batch.context_room) * shape_.symbols);
    while (int(work_.size()) < threads) {
        Workspace work = shared_;
        work.emb = room(padded(batch.pair_room) * shape_.embedding);
        work.pair_sums = room(std::size_t(2) * batch.pair_room * strip_width);
        work.C = work_.empty() ? parameters_.pointers().C : room(shape_.symbols * padded(shape_.embedding));
        work_.push_back(work);
    }
    return *division_;
}

std::size_t Trainer::run(const std::int64_t *indices, std::size_t steps, int examples, const float *rates, float *losses, int threads) {
    threads = team_.gather(std::min(threads, groups_of(shape_)));
    make_room(examples);
    const Division &division = divided(threads);
    if (steps == 0 || !readers_[0]->read(indices)) return 0;
    const Parameters parameters = parameters_.pointers();
    for (int thread = 1; thread < threads; ++thread)
        std::memcpy(work_[thread].C, parameters.C, shape_.symbols * padded(shape_.embedding) * sizeof(float));
    std::size_t end = steps;  // the last thread alone changes it, before a meeting
    team_.run(threads, [&](int thread) {
        const Workspace &work = work_[thread];
        const Part &part = division.part(thread);
        for (std::size_t step = 0; step < end; ++step) {
            const Batch &batch = readers_[step % 2]->batch();
            kernel_.forward(shape_, parameters, batch, work, part);
            team_.meet(thread);
            kernel_.loss(shape_, parameters, batch, work, part);
            team_.meet(thread);
            if (thread == 0) losses[step] = mean_loss(batch);
            // By the last thread, which has the fewest strips. All are done with the batch before this one.
            if (thread == threads - 1 && step + 1 < steps && !readers_[(step + 1) % 2]->read(indices + (step + 1) * examples)) end = step + 1;
            kernel_.backward(shape_, parameters, parameters, batch, work, part, rates[step]);
            team_.meet(thread);
            kernel_.update_embedding(shape_, work.C, batch, work, part, rates[step]);
        }
    });
    return end;
}

bool Trainer::gradients(const std::int64_t *indices, int examples, float *loss, const Pointers &to) {
    make_room(examples);
    const Part &part = divided(1).part(0);
    const Workspace &work = work_[0];
    const Batch &batch = readers_[0]->batch();
    if (!readers_[0]->read(indices)) return false;
    PackedParameters gradients(shape_);  // zeros: the step subtracts -1 times each gradient from them
    const Parameters read = parameters_.pointers(), write = gradients.pointers();
    kernel_.forward(shape_, read, batch, work, part);
    kernel_.loss(shape_, read, batch, work, part);
    kernel_.backward(shape_, read, write, batch, work, part, -1);
    kernel_.update_embedding(shape_, write.C, batch, work, part, -1);
    *loss = mean_loss(batch);
    gradients.unpack(to);
    return true;
}

float Trainer::mean_loss(const Batch &batch) const {
    double loss = 0;
    for (int strip = 0; strip < strips_of(batch.contexts); ++strip) loss += losses_[strip];
    return float(loss / batch.examples);
}

}  // namespace backproof
