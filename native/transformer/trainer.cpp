#include "trainer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "instruction_set.hpp"

namespace backproof {

namespace {

int longest_of(const Words &words, int block) {
    int most = 1;
    for (std::size_t word = 0; word < words.count(); ++word) most = std::max(most, words.cells(std::int64_t(word), block));
    return most;
}

// About what a column costs: a sum over the rows for each of its parameters.
std::ptrdiff_t cost_of(const Column &column) { return column.weight.floats + column.bias.floats; }

}  // namespace

TransformerTrainer::TransformerTrainer(const TransformerShape &shape, const std::vector<const float *> &parameters, Words words, bool share)
    : shape_(shape), kernel_(chosen_transformer_kernel()), layout_(shape), words_(std::move(words)), share_(share),
      positions_(longest_of(words_, shape.block)), parameters_(layout_.floats()), gradients_(layout_.floats()), means_(layout_.floats()),
      squares_(layout_.floats()) {
    point_at_weights();
    load(parameters);
}

void TransformerTrainer::load(const std::vector<const float *> &from) {
    layout_.pack(from, parameters_);
    turn_all();
}

void TransformerTrainer::optimiser(const std::vector<float *> &means, const std::vector<float *> &squares) const {
    layout_.unpack(means_, means);
    layout_.unpack(squares_, squares);
}

void TransformerTrainer::load_optimiser(const std::vector<const float *> &means, const std::vector<const float *> &squares, std::int64_t steps) {
    layout_.pack(means, means_);
    layout_.pack(squares, squares_);
    steps_ = steps;
}

// ---- memory ------------------------------------------------------------------------------------------------------------

// The weights and their transposed copies; the places in memory never change.
void TransformerTrainer::point_at_weights() {
    std::size_t floats = 0;
    for (std::size_t i = 0; i < layout_.count(); ++i)
        if (layout_[i].sizes.size() == 2) floats += std::size_t(layout_[i].strips) * layout_[i].strip_floats();
    turned_ = Room(floats);
    float *turned = turned_.data();
    const auto at = [&](int tensor) { return parameters_.data() + layout_[tensor].place; };
    const auto linear = [&](int weight, const float *bias) {
        const Tensor &tensor = layout_[weight];
        const Linear layer{at(weight), turned, bias, tensor.room_rows / strip_width, tensor.strips};
        turned += tensor.strips * tensor.strip_floats();
        return layer;
    };
    for (int layer = 0; layer < shape_.layers; ++layer) {
        const auto of = [&](int which) { return layout_.of_layer(layer, which); };
        using L = LayerPlace;
        weights_.push_back({{at(of(L::ln1_gain)), at(of(L::ln1_bias))},
                            {at(of(L::ln2_gain)), at(of(L::ln2_bias))},
                            linear(of(L::attn_W), at(of(L::attn_b))),
                            linear(of(L::proj_W), at(of(L::proj_b))),
                            linear(of(L::fc_W), at(of(L::fc_b))),
                            linear(of(L::out_W), at(of(L::out_b)))});
    }
    memory_.shape = shape_;
    memory_.positions = positions_;
    memory_.wte = at(layout_.wte());
    memory_.wpe = at(layout_.wpe());
    memory_.weights = weights_.data();
    memory_.lnf_weights = {at(layout_.lnf_gain()), at(layout_.lnf_bias())};
    memory_.head = linear(layout_.head_W(), nullptr);
    make_columns();
}

float *TransformerTrainer::room(std::size_t floats) {
    rooms_.emplace_back(floats);
    return rooms_.back().data();
}

void TransformerTrainer::make_room(const std::int64_t *indices, std::size_t steps, int batch) {
    std::int64_t most = 0;
    for (std::size_t step = 0; step < steps; ++step) {
        std::int64_t cells = 0;
        for (int i = 0; i < batch; ++i) cells += words_.cells(indices[step * batch + i], shape_.block);
        most = std::max(most, cells);
    }
    if (most <= cells_) return;
    if (most > std::numeric_limits<int>::max() / 2) throw std::bad_alloc();
    cells_ = 0;  // should memory run out, the next call starts afresh
    for (auto &reader : readers_) reader = std::make_unique<PrefixReader>(words_, shape_.block, int(most), positions_, share_);
    make_values(strips_of(int(most)) * strip_width);
    make_columns();
    cells_ = int(most);
}

NormValues TransformerTrainer::norm_room(int rows) {
    const std::size_t floats = std::size_t(memory_.strip) * shape_.row_strips;
    return {room(floats), room(floats), room(rows)};
}

void TransformerTrainer::make_values(int rows) {
    rooms_.clear();
    values_.clear();
    // Odd, so that the strips of one row do not all fall into a few cache sets.
    memory_.strip = std::ptrdiff_t(rows + 1) * strip_width;
    const auto matrix = [&](int strips) { return room(std::size_t(memory_.strip) * strips); };
    const std::size_t probs = std::size_t(shape_.heads) * positions_ * rows;
    for (int layer = 0; layer < shape_.layers; ++layer)
        values_.push_back({norm_room(rows), norm_room(rows), matrix(3 * shape_.attention_strips), room(probs), matrix(shape_.attention_strips),
                           matrix(shape_.inner_strips), matrix(shape_.inner_strips)});
    memory_.x = matrix(shape_.row_strips);
    memory_.layers = values_.data();
    memory_.lnf = norm_room(rows);
    memory_.logits = matrix(shape_.logit_strips);
    losses_.resize(rows);
    memory_.losses = losses_.data();
    memory_.gradients = {matrix(shape_.row_strips), matrix(shape_.inner_strips), matrix(3 * shape_.attention_strips), matrix(shape_.row_strips),
                         matrix(shape_.row_strips)};
    for (float *&dout : memory_.dout) dout = matrix(shape_.row_strips);
    memory_.dlnf = matrix(shape_.row_strips);
    memory_.dattended = matrix(shape_.attention_strips);
    memory_.dscores = room(probs);
}

// ---- columns -----------------------------------------------------------------------------------------------------------

Piece TransformerTrainer::piece(int tensor, int strip) const { return {layout_[tensor].strip_place(strip), layout_[tensor].strip_floats(), tensor}; }

Column TransformerTrainer::linear_column(int weight, int bias, const Linear &layer, int strip, const float *x, const float *dy) const {
    const std::ptrdiff_t turned_strip = std::ptrdiff_t(layer.out) * strip_width * strip_width;
    float *const turned = layer.turned + std::ptrdiff_t(strip) * strip_width * strip_width;
    const Piece of_bias = bias < 0 ? Piece{0, 0, weight} : piece(bias, strip);
    return {Column::linear, x, dy + strip * memory_.strip, layer.in, turned, turned_strip, piece(weight, strip), of_bias};
}

Column TransformerTrainer::pair_of_columns(Column::Kind kind, int weight, int bias, int strip, const float *values, const float *dy) const {
    const std::ptrdiff_t at = strip * memory_.strip;
    return {kind, values ? values + at : nullptr, dy + at, 0, nullptr, 0, piece(weight, strip), piece(bias, strip)};
}

void TransformerTrainer::make_columns() {
    columns_.assign(shape_.layers, {});
    if (values_.empty()) values_.resize(shape_.layers);  // no batch yet: the columns know their weights, and nothing to sum up
    for (int layer = 0; layer < shape_.layers; ++layer) {
        const auto of = [&](int which) { return layout_.of_layer(layer, which); };
        using L = LayerPlace;
        const LayerGradients &gradients = memory_.gradients;
        const LayerValues &values = values_[layer];
        const LayerWeights &weights = weights_[layer];
        std::vector<Column> &columns = columns_[layer];
        const auto linear = [&](int weight, int bias, const Linear &given, const float *x, const float *dy) {
            for (int s = 0; s < given.out; ++s) columns.push_back(linear_column(weight, bias, given, s, x, dy));
        };
        const auto pair = [&](Column::Kind kind, int weight, int bias, const float *x, const float *dy) {
            for (int s = 0; s < shape_.row_strips; ++s) columns.push_back(pair_of_columns(kind, weight, bias, s, x, dy));
        };
        if (layer == shape_.layers - 1) {
            linear(layout_.head_W(), -1, memory_.head, memory_.lnf.out, memory_.logits);
            pair(Column::norm, layout_.lnf_gain(), layout_.lnf_bias(), memory_.lnf.normal, memory_.dlnf);
        }
        linear(of(L::attn_W), of(L::attn_b), weights.attn, values.ln1.out, gradients.qkv);
        linear(of(L::proj_W), of(L::proj_b), weights.proj, values.attended, gradients.mid);
        linear(of(L::fc_W), of(L::fc_b), weights.fc, values.ln2.out, gradients.inner);
        linear(of(L::out_W), of(L::out_b), weights.out, values.gelu, memory_.dout[layer % 2]);
        pair(Column::norm, of(L::ln1_gain), of(L::ln1_bias), values.ln1.normal, gradients.ln1);
        pair(Column::norm, of(L::ln2_gain), of(L::ln2_bias), values.ln2.normal, gradients.ln2);
        if (layer == 0) pair(Column::embedding, layout_.wte(), layout_.wpe(), nullptr, memory_.dout[1]);
    }
    squares_of_.assign(shape_.layers, {});
    for (int layer = 0; layer < shape_.layers; ++layer) squares_of_[layer].resize(columns_[layer].size());
}

void TransformerTrainer::turn_all() {
    for (const auto &columns : columns_)
        for (const Column &column : columns) kernel_.turn(column, parameters_.data());
}

// ---- the step ----------------------------------------------------------------------------------------------------------

Span TransformerTrainer::Part::of(int n) const { return {int(std::int64_t(n) * number / parts), int(std::int64_t(n) * (number + 1) / parts)}; }

// A part's share of a layer's columns: the first that begins at or after its share of their cost, and so on.
Span TransformerTrainer::columns_of(int layer, const Part &part) const {
    const std::vector<Column> &columns = columns_[layer];
    std::ptrdiff_t all = 0;
    for (const Column &column : columns) all += cost_of(column);
    const auto first_of = [&](int number) {
        int first = 0;
        for (std::ptrdiff_t cost = 0; first < int(columns.size()) && cost < all * number / part.parts; ++first) cost += cost_of(columns[first]);
        return first;
    };
    return {first_of(part.number), first_of(part.number + 1)};
}

// Forward and back, by one of the threads. after_layer(layer) is called when the backward pass is through with a layer, and its columns can be
// summed over the rows. Nothing reads the layer's weights after that.
template <class AfterLayer>
void TransformerTrainer::pass(const Prefixes &batch, const Part &part, AfterLayer after_layer) {
    const Span rows = part.of(batch.rows), strips = part.of(strips_of(batch.rows));
    kernel_.embed(memory_, batch, rows);
    for (int layer = 0; layer < shape_.layers; ++layer) {
        kernel_.before_attention(memory_, layer, rows);
        team_.meet(part.number);
        kernel_.attention(memory_, batch, layer, strips);
        team_.meet(part.number);
        kernel_.after_attention(memory_, layer, rows);
    }
    kernel_.head(memory_, batch, rows);
    for (int layer = shape_.layers - 1; layer >= 0; --layer) {
        kernel_.after_attention_backward(memory_, layer, rows);
        team_.meet(part.number);
        kernel_.attention_backward(memory_, batch, layer, strips);
        team_.meet(part.number);
        kernel_.before_attention_backward(memory_, batch, layer, rows);
        team_.meet(part.number);
        after_layer(layer);
        team_.meet(part.number);
    }
}

void TransformerTrainer::run(const std::int64_t *indices, std::size_t steps, int batch, const double *rates, const AdamWSettings &settings,
                             float *losses, int threads) {
    if (steps == 0) return;
    make_room(indices, steps, batch);
    threads = team_.gather(std::min(threads, Team::most_threads));
    readers_[0]->read(indices, batch);
    const bool clipped = std::isfinite(settings.clip);
    const Flat flat{parameters_.data(), gradients_.data(), means_.data(), squares_.data()};
    team_.run(threads, [&](int thread) {
        const Part part{thread, threads};
        for (std::size_t step = 0; step < steps; ++step) {
            const Prefixes &prefixes = readers_[step % 2]->prefixes();
            AdamW numbers = numbers_of(settings, rates[step], steps_ + std::int64_t(step) + 1);
            const auto update = [&](const Column &column) {
                kernel_.update(column, flat, numbers, settings.decayed[column.weight.tensor], settings.decayed[column.bias.tensor]);
            };
            pass(prefixes, part, [&](int layer) {
                const Span columns = columns_of(layer, part);
                for (int c = columns.first; c < columns.last; ++c) {
                    const Column &column = columns_[layer][c];
                    kernel_.sum_over_rows(memory_, prefixes, column, flat.gradients);
                    if (clipped)
                        squares_of_[layer][c] = kernel_.sum_of_squares(column, flat.gradients);
                    else
                        update(column);
                }
                if (layer > 0) return;
                if (thread == 0) losses[step] = mean_loss(prefixes);
                if (thread == threads - 1 && step + 1 < steps) readers_[(step + 1) % 2]->read(indices + (step + 1) * batch, batch);
            });
            if (!clipped) continue;
            numbers.scale = clipping(settings.clip);
            for (int layer = 0; layer < shape_.layers; ++layer) {
                const Span columns = columns_of(layer, part);
                for (int c = columns.first; c < columns.last; ++c) update(columns_[layer][c]);
            }
            team_.meet(thread);
        }
    });
    steps_ += std::int64_t(steps);
}

float TransformerTrainer::gradients(const std::int64_t *indices, int batch, const std::vector<float *> &to) {
    make_room(indices, 1, batch);
    readers_[0]->read(indices, batch);
    const Prefixes &prefixes = readers_[0]->prefixes();
    pass(prefixes, {0, 1}, [&](int layer) {
        for (const Column &column : columns_[layer]) kernel_.sum_over_rows(memory_, prefixes, column, gradients_.data());
    });
    layout_.unpack(gradients_, to);
    return mean_loss(prefixes);
}

std::pair<int, int> TransformerTrainer::rows_of(const std::int64_t *indices, int batch) {
    make_room(indices, 1, batch);
    readers_[0]->read(indices, batch);
    return {readers_[0]->prefixes().cells, readers_[0]->prefixes().rows};
}

AdamW TransformerTrainer::numbers_of(const AdamWSettings &settings, double rate, std::int64_t step) {
    const double of_mean = 1 - std::pow(settings.beta1, double(step)), of_square = 1 - std::pow(settings.beta2, double(step));
    return {float(1 - rate * settings.decay), float(settings.beta1),   float(1 - settings.beta1), float(settings.beta2), float(1 - settings.beta2),
            float(1 / std::sqrt(of_square)),  float(settings.epsilon), float(rate / of_mean),     1};
}

// What the gradient is multiplied with, so that its norm is at most `most`: as torch.nn.utils.clip_grad_norm_ does it.
float TransformerTrainer::clipping(double most) const {
    double squares = 0;
    for (const auto &of_layer : squares_of_)
        for (double square : of_layer) squares += square;
    const double scale = most / (std::sqrt(squares) + 1e-6);
    return scale >= 1 ? 1.0f : float(scale);  // NaN stays
}

float TransformerTrainer::mean_loss(const Prefixes &batch) const {
    double loss = 0;
    for (int row = 0; row < batch.rows; ++row) loss += losses_[row];
    return float(loss / batch.cells);
}

}  // namespace backproof
