// The Transformer in training: owns the parameters, the optimiser's state, the words and the workspace. Knows nothing of Python.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../room.hpp"
#include "../team.hpp"
#include "batch.hpp"
#include "kernel.hpp"
#include "layout.hpp"

namespace backproof {

struct AdamWSettings {
    double beta1, beta2, epsilon, decay;
    std::vector<bool> decayed;  // a tensor each
    double clip;                // the gradient's largest norm; infinity: it is not clipped
};

class TransformerTrainer {
  public:
    // Every symbol below shape.symbols.
    TransformerTrainer(const TransformerShape &shape, const std::vector<const float *> &parameters, Words words, bool share);

    // One step for each row of `indices` (steps, batch), by so many threads or as many as there are: the bits are the same by any number.
    void run(const std::int64_t *indices, std::size_t steps, int batch, const double *rates, const AdamWSettings &settings, float *losses,
             int threads);

    // The loss and the gradients of one batch; nothing changes.
    float gradients(const std::int64_t *indices, int batch, const std::vector<float *> &to);

    // Live cells, and the rows that are computed for them.
    std::pair<int, int> rows_of(const std::int64_t *indices, int batch);

    void parameters(const std::vector<float *> &to) const { layout_.unpack(parameters_, to); }
    void load(const std::vector<const float *> &from);
    void optimiser(const std::vector<float *> &means, const std::vector<float *> &squares) const;
    void load_optimiser(const std::vector<const float *> &means, const std::vector<const float *> &squares, std::int64_t steps);
    std::int64_t steps() const { return steps_; }

    const TransformerShape &shape() const { return shape_; }
    const Layout &layout() const { return layout_; }
    const Words &words() const { return words_; }
    const char *instruction_set() const { return kernel_.name; }

  private:
    // What is done of the step by one thread.
    struct Part {
        int number, parts;
        Span of(int n) const;
    };

    float *room(std::size_t floats);
    void make_room(const std::int64_t *indices, std::size_t steps, int batch);
    NormValues norm_room(int rows);
    void make_values(int rows);
    void point_at_weights();
    void make_columns();
    Column linear_column(int weight, int bias, const Linear &layer, int strip, const float *x, const float *dy) const;
    Column pair_of_columns(Column::Kind kind, int weight, int bias, int strip, const float *values, const float *dy) const;
    Piece piece(int tensor, int strip) const;
    void turn_all();

    template <class AfterLayer>
    void pass(const Prefixes &batch, const Part &part, AfterLayer after_layer);
    Span columns_of(int layer, const Part &part) const;
    static AdamW numbers_of(const AdamWSettings &settings, double rate, std::int64_t step);
    float clipping(double most) const;
    float mean_loss(const Prefixes &batch) const;

    const TransformerShape shape_;
    const TransformerKernel &kernel_;
    const Layout layout_;
    const Words words_;
    const bool share_;
    const int positions_;  // of the longest example
    Room parameters_, gradients_, means_, squares_, turned_;
    std::int64_t steps_ = 0;

    int cells_ = 0;  // what there is room for
    std::array<std::unique_ptr<PrefixReader>, 2> readers_;  // the batch of this step, and of the next
    std::vector<Room> rooms_;
    std::vector<LayerWeights> weights_;
    std::vector<LayerValues> values_;
    std::vector<double> losses_;
    std::vector<std::vector<double>> squares_of_;  // the columns' gradients
    std::vector<std::vector<Column>> columns_;  // a list for each layer: of what can be summed up when the backward pass is through with it
    TransformerMemory memory_{};
    Team team_;
};

}  // namespace backproof
