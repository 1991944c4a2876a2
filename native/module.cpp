// The border to Python: everything that comes in is checked here, and copied, before the arithmetic sees it.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "border.hpp"
#include "instruction_set.hpp"
#include "trainer.hpp"
#include "transformer/border.hpp"

using namespace nb::literals;

namespace backproof {
namespace {

constexpr const char *names[parameter_count] = {"C", "W1", "b1", "W2", "b2", "bngain", "bnbias"};

AnyArray parameter_of(int i, nb::handle value, const Sizes &sizes) {
    AnyArray array = array_of<float>(names[i], value, "float32");
    if (sizes_of(array) != sizes)
        throw std::invalid_argument(std::string(names[i]) + " must be of shape " + text_of(sizes) + "; got " + text_of(sizes_of(array)));
    return array;
}

std::vector<Sizes> parameter_sizes(const Shape &shape) {
    const std::size_t V = shape.symbols, E = shape.embedding, K = std::size_t(shape.block) * E, H = shape.hidden;
    return {{V, E}, {K, H}, {H}, {H, V}, {V}, {1, H}, {1, H}};
}

std::vector<OwnedArray> owned_parameters(const Shape &shape) {
    std::vector<OwnedArray> arrays;
    for (const Sizes &sizes : parameter_sizes(shape)) arrays.emplace_back(sizes);
    return arrays;
}

Pointers pointers_of(const std::vector<OwnedArray> &arrays) {
    Pointers pointers;
    for (int i = 0; i < parameter_count; ++i) pointers[i] = arrays[i].data;
    return pointers;
}

nb::tuple tuple_of(const std::vector<OwnedArray> &arrays) {
    nb::list list;
    for (const OwnedArray &array : arrays) list.append(array.to_python());
    return nb::tuple(list);
}

// A copy: what has been checked must not change.
template <class T>
Stream symbols_of(const AnyArray &stream, int block, int symbols) {
    std::vector<T> raw(stream.shape(0));
    std::memcpy(raw.data(), stream.data(), raw.size() * sizeof(T));
    for (std::size_t i = 0; i < raw.size(); ++i) {
        if (raw[i] >= symbols)
            throw std::invalid_argument("stream[" + std::to_string(i) + "] is symbol " + std::to_string(raw[i]) + ", but C has only " +
                                        std::to_string(symbols) + " rows");
        if (i < std::size_t(block) && raw[i] != 0)
            throw std::invalid_argument("stream must begin with block_size = " + std::to_string(block) + " zeros, the context of the first symbol");
    }
    return raw;
}

class PyTrainer {
  public:
    PyTrainer(nb::object C, nb::object W1, nb::object b1, nb::object W2, nb::object b2, nb::object bngain, nb::object bnbias,
              nb::object stream, std::int64_t block_size, std::int64_t correction, double epsilon) {
        const AnyArray embedding = array_of<float>("C", C, "float32"), output = array_of<float>("W2", W2, "float32");
        if (embedding.ndim() != 2) throw std::invalid_argument("C must be of shape (symbols, embedding); got " + text_of(sizes_of(embedding)));
        if (output.ndim() != 2) throw std::invalid_argument("W2 must be of shape (hidden, symbols); got " + text_of(sizes_of(output)));
        Shape shape{};
        shape.symbols = size_between("the number of symbols, C's rows,", embedding.shape(0), 1, 65535);
        shape.embedding = size_between("the embedding, C's columns,", embedding.shape(1), 1, 65535);
        shape.hidden = size_between("the number of hidden units, W2's rows,", output.shape(0), 1, 1 << 20);
        shape.block = size_between("block_size", block_size, 1, 1024);
        shape.correction = size_between("correction", correction, 0, 1);
        shape.epsilon = float(epsilon);
        // As float32, and not 0: the units that pad a strip have variance 0, and their 1 / 0 would make the loss NaN.
        if (!(shape.epsilon > 0) || !std::isfinite(shape.epsilon))
            throw std::invalid_argument("epsilon must be a finite number, as float32 greater than 0");

        const AnyArray text = array_of("stream", stream);
        const bool wide = text.dtype() == nb::dtype<std::uint16_t>();
        if (!wide && text.dtype() != nb::dtype<std::uint8_t>())
            throw nb::type_error("stream must be of type uint8, or uint16 for more than 256 symbols");
        if (text.ndim() != 1 || text.shape(0) <= std::size_t(shape.block))
            throw std::invalid_argument("stream must have one axis, and more than block_size symbols; got shape " + text_of(sizes_of(text)));

        const auto parameters = checked(shape, {C, W1, b1, W2, b2, bngain, bnbias});
        trainer_ = std::make_unique<Trainer>(
            shape, parameters.pointers,
            wide ? symbols_of<std::uint16_t>(text, shape.block, shape.symbols) : symbols_of<std::uint8_t>(text, shape.block, shape.symbols));
    }

    nb::object run(nb::object indices, nb::object learning_rates, std::int64_t threads) {
        const Alone alone(busy_, "Trainer");
        const int by = size_between("threads", threads, 1, 1 << 10);
        const AnyArray index_array = array_of<std::int64_t>("indices", indices, "int64");
        if (index_array.ndim() != 2) throw std::invalid_argument("indices must be of shape (steps, batch); got " + text_of(sizes_of(index_array)));
        const std::size_t steps = index_array.shape(0);
        const int examples = size_between("the batch, indices' columns,", index_array.shape(1), 2, 1 << 20);
        const AnyArray rate_array = array_of<float>("learning_rates", learning_rates, "float32");
        if (sizes_of(rate_array) != Sizes{steps})
            throw std::invalid_argument("learning_rates must be of shape (steps,) = " + text_of({steps}) + "; got " + text_of(sizes_of(rate_array)));
        const auto checked_indices = copy_of_indices(index_array);
        std::vector<float> rates(steps);
        if (steps) std::memcpy(rates.data(), rate_array.data(), steps * sizeof(float));
        for (std::size_t i = 0; i < steps; ++i)
            if (!std::isfinite(rates[i])) throw std::invalid_argument("learning_rates[" + std::to_string(i) + "] is not a finite number");

        OwnedArray losses({steps});
        {
            nb::gil_scoped_release release;
            trainer_->run(checked_indices.data(), steps, examples, rates.data(), losses.data, by);
        }
        return losses.to_python();
    }

    nb::tuple gradients(nb::object indices) {
        const Alone alone(busy_, "Trainer");
        const AnyArray array = array_of<std::int64_t>("indices", indices, "int64");
        if (array.ndim() != 1) throw std::invalid_argument("indices must be of shape (batch,); got " + text_of(sizes_of(array)));
        const int examples = size_between("the batch, indices' length,", array.shape(0), 2, 1 << 20);
        const auto checked_indices = copy_of_indices(array);
        const auto arrays = owned_parameters(trainer_->shape());
        float loss = 0;
        {
            nb::gil_scoped_release release;
            trainer_->gradients(checked_indices.data(), examples, &loss, pointers_of(arrays));
        }
        return nb::make_tuple(loss, tuple_of(arrays));
    }

    nb::tuple parameters() {
        const Alone alone(busy_, "Trainer");
        const auto arrays = owned_parameters(trainer_->shape());
        trainer_->parameters(pointers_of(arrays));
        return tuple_of(arrays);
    }

    void load(nb::object C, nb::object W1, nb::object b1, nb::object W2, nb::object b2, nb::object bngain, nb::object bnbias) {
        const Alone alone(busy_, "Trainer");
        trainer_->load(checked(trainer_->shape(), {C, W1, b1, W2, b2, bngain, bnbias}).pointers);
    }

    int most_threads() const { return groups_of(trainer_->shape()); }
    std::string instruction_set() const { return trainer_->instruction_set(); }
    std::size_t examples() const { return trainer_->examples_in_text(); }

  private:
    struct Checked {
        std::vector<AnyArray> arrays;  // held, so that the pointers stay good
        ConstPointers pointers;
    };

    static Checked checked(const Shape &shape, const std::array<nb::object, parameter_count> &values) {
        Checked result;
        const auto sizes = parameter_sizes(shape);
        for (int i = 0; i < parameter_count; ++i) {
            result.arrays.push_back(parameter_of(i, values[i], sizes[i]));
            result.pointers[i] = static_cast<const float *>(result.arrays.back().data());
        }
        return result;
    }

    // A copy: what has been checked must not change while the kernel runs without Python's lock.
    std::vector<std::int64_t> copy_of_indices(const AnyArray &array) const {
        std::vector<std::int64_t> indices(array.size());
        if (!indices.empty()) std::memcpy(indices.data(), array.data(), indices.size() * sizeof(std::int64_t));
        const std::int64_t end = std::int64_t(trainer_->examples_in_text());
        for (std::int64_t index : indices)
            if (index < 0 || index >= end)
                throw nb::index_error(("index " + std::to_string(index) + " is outside the text, which has examples 0 to " + std::to_string(end - 1)).c_str());
        return indices;
    }

    std::unique_ptr<Trainer> trainer_;
    std::atomic<bool> busy_{false};
};

// float operations a second of the chosen instruction set's multiply-adds, at the best of `attempts` short bursts.
double fma_peak(int attempts) {
    if (attempts < 1) throw std::invalid_argument("attempts must be at least 1");
    const Kernel &kernel = chosen_kernel();
    double best = 0;
    for (int i = 0; i < attempts; ++i) {
        const auto start = std::chrono::steady_clock::now();
        const double operations = kernel.multiply_adds(50000);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        best = std::max(best, operations / seconds.count());
    }
    return best;
}

// The yardstick itself, for benchmarks with a clock of their own: returns the float operations done.
double multiply_adds(std::int64_t rounds) {
    const Kernel &kernel = chosen_kernel();
    nb::gil_scoped_release release;
    return kernel.multiply_adds(long(rounds));
}

// tanh, exp (of x <= 0) or log (of x >= 1) of an array, as the chosen kernel computes them.
nb::object elementary(const std::string &name, nb::object values) {
    const AnyArray array = array_of<float>("values", values, "float32");
    const Kernel &kernel = chosen_kernel();
    const auto function = name == "tanh" ? kernel.tanh : name == "exp" ? kernel.exp : name == "log" ? kernel.log : nullptr;
    if (!function) throw std::invalid_argument("name must be tanh, exp or log; got " + name);
    const std::size_t size = array.size();
    Room from(size + strip_width), to(size + strip_width);
    if (size) std::memcpy(from.data(), array.data(), size * sizeof(float));
    function(from.data(), to.data(), strips_of(size) * strip_width);
    OwnedArray result(sizes_of(array));
    if (size) std::memcpy(result.data, to.data(), size * sizeof(float));
    return result.to_python();
}

std::vector<std::string> supported() {
    std::vector<std::string> found;
    for (const Kernel *kernel : supported_kernels()) found.push_back(kernel->name);
    return found;
}

}  // namespace
}  // namespace backproof

NB_MODULE(_fused, m) {
    using namespace backproof;
    m.doc() = "The fused training step, compiled: see native/ for its source.";
    m.def("supported_instruction_sets", &supported, "The instruction sets compiled in that this processor has, fastest first.");
    m.def("chosen_instruction_set", [] { return std::string(chosen_kernel().name); },
          "The one that a Trainer takes: the fastest, or what BACKPROOF_ISA names; a ValueError if that is not supported here.");
    m.def("fma_peak", &fma_peak, "attempts"_a = 20,
          "Float operations a second that one core does in fused multiply-adds on registers alone: the best of `attempts` bursts.");
    m.def("multiply_adds", &multiply_adds, "rounds"_a,
          "Does `rounds` rounds of fused multiply-adds on registers alone, and returns the float operations done.");
    m.def("elementary", &elementary, "name"_a, "values"_a.none(), "tanh, exp (x <= 0) or log (x >= 1) of a float32 array, as the training step computes it.");
    nb::class_<PyTrainer>(m, "Trainer",
                          "The network and its text, trained by a fused, hand-derived step.\n\n"
                          "Parameters are float32 arrays C (symbols, embedding), W1 (block_size * embedding, hidden), b1 (hidden,),\n"
                          "W2 (hidden, symbols), b2 (symbols,), bngain (1, hidden), bnbias (1, hidden); they are copied. `stream` is the text,\n"
                          "uint8 or uint16: block_size zeros, then the words' symbols with a 0 after each word.")
        .def(nb::init<nb::object, nb::object, nb::object, nb::object, nb::object, nb::object, nb::object, nb::object, std::int64_t,
                      std::int64_t, double>(),
             "C"_a.none(), "W1"_a.none(), "b1"_a.none(), "W2"_a.none(), "b2"_a.none(), "bngain"_a.none(), "bnbias"_a.none(), "stream"_a.none(), "block_size"_a, nb::kw_only(), "correction"_a = 1,
             "epsilon"_a = 1e-5)
        .def("run", &PyTrainer::run, "indices"_a.none(), "learning_rates"_a.none(), "threads"_a = 1,
             "Trains one step for each row of indices (steps, batch), int64, with learning_rates (steps,), float32, in so many\n"
             "threads, or in most_threads where that is less; the bits are the same. Returns the losses (steps,), float32.\n"
             "Python's lock is released meanwhile.")
        .def("gradients", &PyTrainer::gradients, "indices"_a.none(),
             "The loss and the seven gradients for one batch, indices (batch,); the parameters stay as they are.")
        .def("parameters", &PyTrainer::parameters, "Copies of the seven parameters, in the order and shapes they came in.")
        .def("load", &PyTrainer::load, "C"_a.none(), "W1"_a.none(), "b1"_a.none(), "W2"_a.none(), "b2"_a.none(), "bngain"_a.none(), "bnbias"_a.none(), "Puts these parameters in place of the present ones.")
        .def_prop_ro("most_threads", &PyTrainer::most_threads, "How many threads can have a part in a step: 1 for a small network, at most 16.")
        .def_prop_ro("instruction_set", &PyTrainer::instruction_set)
        .def_prop_ro("examples", &PyTrainer::examples, "The number of examples in the text.");
    add_transformer(m);
}
