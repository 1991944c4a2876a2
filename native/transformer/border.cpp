// The border to Python: everything that comes in is checked here, and copied, before the arithmetic sees it.
#include "border.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../border.hpp"
#include "trainer.hpp"

using namespace nb::literals;

namespace backproof {
namespace {

// Arrays that are held, so that the pointers stay good.
struct Arrays {
    std::vector<AnyArray> arrays;
    std::vector<const float *> pointers;
};

AnyArray matrix_of(const std::string &name, nb::handle value) {
    const AnyArray array = array_of<float>(name, value, "float32");
    if (array.ndim() != 2) throw std::invalid_argument(name + " must have two axes; got shape " + text_of(sizes_of(array)));
    return array;
}

// One array for each tensor of the layout, of its shape. `what`: "parameters", say, for messages.
Arrays arrays_of(const Layout &layout, const std::string &what, const nb::list &values) {
    if (values.size() != layout.count())
        throw std::invalid_argument(what + " must be " + std::to_string(layout.count()) + " arrays; got " + std::to_string(values.size()));
    Arrays result;
    for (std::size_t i = 0; i < layout.count(); ++i) {
        const std::string name = what + "[" + std::to_string(i) + "], " + layout[i].name + ",";
        AnyArray array = array_of<float>(name, values[i], "float32");
        if (sizes_of(array) != layout[i].sizes)
            throw std::invalid_argument(name + " must be of shape " + text_of(layout[i].sizes) + "; got " + text_of(sizes_of(array)));
        result.pointers.push_back(static_cast<const float *>(array.data()));
        result.arrays.push_back(std::move(array));
    }
    return result;
}

// As many arrays of their own memory.
struct Results {
    explicit Results(const Layout &layout) {
        for (std::size_t i = 0; i < layout.count(); ++i) {
            arrays.emplace_back(layout[i].sizes);
            pointers.push_back(arrays.back().data);
        }
    }
    nb::list to_python() const {
        nb::list list;
        for (const OwnedArray &array : arrays) list.append(array.to_python());
        return list;
    }
    std::vector<OwnedArray> arrays;
    std::vector<float *> pointers;
};

template <class T>
std::vector<T> copy_of(const AnyArray &array) {
    std::vector<T> values(array.size());
    if (!values.empty()) std::memcpy(values.data(), array.data(), values.size() * sizeof(T));
    return values;
}

void check_axes(const std::string &name, const AnyArray &array, std::size_t axes, const char *shape) {
    if (array.ndim() != axes) throw std::invalid_argument(name + " must be of shape " + shape + "; got " + text_of(sizes_of(array)));
}

std::vector<std::uint16_t> stream_of(nb::handle value) {
    const AnyArray array = array_of("words", value);
    const bool wide = array.dtype() == nb::dtype<std::uint16_t>();
    if (!wide && array.dtype() != nb::dtype<std::uint8_t>())
        throw nb::type_error("words must be of type uint8, or uint16 for more than 256 symbols");
    check_axes("words", array, 1, "(symbols,)");
    if (wide) return copy_of<std::uint16_t>(array);
    const auto narrow = copy_of<std::uint8_t>(array);
    return {narrow.begin(), narrow.end()};
}

Words words_of(nb::handle stream, nb::handle offsets, int symbols) {
    const AnyArray array = array_of<std::int64_t>("offsets", offsets, "int64");
    check_axes("offsets", array, 1, "(words + 1,)");
    Words words{stream_of(stream), copy_of<std::int64_t>(array)};
    const std::int64_t size = std::int64_t(words.stream.size());
    if (words.offsets.size() < 2)
        throw std::invalid_argument("offsets must have the beginning of each word, of at least one, and the end of the last");
    if (words.offsets.front() != 0 || words.offsets.back() != size)
        throw std::invalid_argument("offsets must go from 0 to the number of words' symbols, " + std::to_string(size) + "; got " +
                                    std::to_string(words.offsets.front()) + " to " + std::to_string(words.offsets.back()));
    for (std::size_t word = 0; word < words.count(); ++word) {
        const std::int64_t first = words.offsets[word], end = words.offsets[word + 1];
        if (end <= first || end > size)
            throw std::invalid_argument("offsets must grow; offsets[" + std::to_string(word) + "] and the next are " + std::to_string(first) +
                                        " and " + std::to_string(end));
        for (std::int64_t i = first; i < end; ++i) {
            if (words.stream[i] >= symbols)
                throw std::invalid_argument("words[" + std::to_string(i) + "] is symbol " + std::to_string(words.stream[i]) + ", but wte has only " +
                                            std::to_string(symbols) + " rows");
            if ((words.stream[i] == 0) != (i + 1 == end))
                throw std::invalid_argument("word " + std::to_string(word) + " must have a 0 at its end, and nowhere else; words[" +
                                            std::to_string(i) + "] is " + std::to_string(words.stream[i]));
        }
    }
    return words;
}

TransformerShape shape_of(const nb::list &parameters, std::int64_t layers, std::int64_t heads, std::int64_t block_size) {
    if (parameters.size() == 0) throw std::invalid_argument("parameters must begin with wte; got no array");
    const AnyArray wte = matrix_of("parameters[0], wte,", parameters[0]);
    const int symbols = size_between("the number of symbols, wte's rows,", std::int64_t(wte.shape(0)), 1, 65535);
    const int width = size_between("the width, wte's columns,", std::int64_t(wte.shape(1)), 1, 1 << 14);
    const int most_heads = size_between("heads", heads, 1, width);
    if (width % most_heads != 0)
        throw std::invalid_argument("heads must divide the width; got " + std::to_string(heads) + " heads and a width of " + std::to_string(width));
    return transformer_shape(symbols, width, size_between("layers", layers, 1, 1024), most_heads, size_between("block_size", block_size, 1, 1 << 14));
}

double number_of(const std::string &name, double value, double least, double below) {
    if (!(value >= least && value < below))
        throw std::invalid_argument(name + " must be at least " + nb::str(nb::float_(least)).c_str() + " and less than " +
                                    nb::str(nb::float_(below)).c_str() + "; got " + nb::str(nb::float_(value)).c_str());
    return value;
}

std::vector<double> rates_of(nb::handle value, std::size_t steps) {
    const AnyArray array = array_of("rates", value);
    const bool wide = array.dtype() == nb::dtype<double>();
    if (!wide && array.dtype() != nb::dtype<float>()) throw nb::type_error("rates must be of type float64 or float32");
    if (sizes_of(array) != Sizes{steps})
        throw std::invalid_argument("rates must be of shape (steps,) = " + text_of({steps}) + "; got " + text_of(sizes_of(array)));
    std::vector<double> rates;
    if (wide) {
        rates = copy_of<double>(array);
    } else {
        const auto narrow = copy_of<float>(array);
        rates.assign(narrow.begin(), narrow.end());
    }
    for (std::size_t i = 0; i < steps; ++i)
        if (!std::isfinite(rates[i])) throw std::invalid_argument("rates[" + std::to_string(i) + "] is not a finite number");
    return rates;
}

std::vector<bool> flags_of(nb::handle value, std::size_t count) {
    const AnyArray array = array_of("decayed", value);
    if (array.dtype() != nb::dtype<bool>() && array.dtype() != nb::dtype<std::uint8_t>())
        throw nb::type_error("decayed must be of type bool or uint8");
    if (sizes_of(array) != Sizes{count})
        throw std::invalid_argument("decayed must be of shape " + text_of({count}) + ", a flag for each parameter; got " + text_of(sizes_of(array)));
    const auto flags = copy_of<std::uint8_t>(array);
    return std::vector<bool>(flags.begin(), flags.end());
}

class PyTransformer {
  public:
    PyTransformer(nb::list parameters, std::int64_t layers, std::int64_t heads, std::int64_t block_size, nb::object words, nb::object offsets,
                  bool share) {
        const TransformerShape shape = shape_of(parameters, layers, heads, block_size);
        const Arrays arrays = arrays_of(Layout(shape), "parameters", parameters);
        trainer_ = std::make_unique<TransformerTrainer>(shape, arrays.pointers, words_of(words, offsets, shape.symbols), share);
    }

    nb::object run(nb::object indices, nb::object rates, double beta1, double beta2, double epsilon, double decay, nb::object decayed, double clip,
                   std::int64_t threads) {
        const Alone alone(busy_, "Transformer");
        const int by = size_between("threads", threads, 1, 1 << 10);
        const AnyArray array = array_of<std::int64_t>("indices", indices, "int64");
        check_axes("indices", array, 2, "(steps, batch)");
        const std::size_t steps = array.shape(0);
        const int batch = size_between("the batch, indices' columns,", std::int64_t(array.shape(1)), 1, 1 << 20);
        const auto numbers = indices_of(array);
        const auto rate_numbers = rates_of(rates, steps);
        const AdamWSettings settings{number_of("beta1", beta1, 0, 1), number_of("beta2", beta2, 0, 1), epsilon,
                                     number_of("decay", decay, 0, infinity), flags_of(decayed, trainer_->layout().count()), clip};
        // As float32, and not 0: what fills up the strips has a gradient of 0, and 0 / 0 would make it NaN.
        if (!(float(epsilon) > 0) || !std::isfinite(float(epsilon)))
            throw std::invalid_argument("epsilon must be a finite number, as float32 greater than 0");
        if (!(clip > 0)) throw std::invalid_argument("clip must be greater than 0; infinity is no clipping");
        OwnedArray losses({steps});
        {
            nb::gil_scoped_release release;
            trainer_->run(numbers.data(), steps, batch, rate_numbers.data(), settings, losses.data, by);
        }
        return losses.to_python();
    }

    nb::tuple gradients(nb::object indices) {
        const Alone alone(busy_, "Transformer");
        const auto batch = batch_of(indices);
        const Results results(trainer_->layout());
        float loss = 0;
        {
            nb::gil_scoped_release release;
            loss = trainer_->gradients(batch.data(), int(batch.size()), results.pointers);
        }
        return nb::make_tuple(loss, results.to_python());
    }

    nb::tuple rows_of(nb::object indices) {
        const Alone alone(busy_, "Transformer");
        const auto batch = batch_of(indices);
        const auto [cells, rows] = trainer_->rows_of(batch.data(), int(batch.size()));
        return nb::make_tuple(cells, rows);
    }

    nb::list parameters() {
        const Alone alone(busy_, "Transformer");
        const Results results(trainer_->layout());
        trainer_->parameters(results.pointers);
        return results.to_python();
    }

    void load(nb::list parameters) {
        const Alone alone(busy_, "Transformer");
        trainer_->load(arrays_of(trainer_->layout(), "parameters", parameters).pointers);
    }

    nb::tuple optimiser() {
        const Alone alone(busy_, "Transformer");
        const Results means(trainer_->layout()), squares(trainer_->layout());
        trainer_->optimiser(means.pointers, squares.pointers);
        return nb::make_tuple(means.to_python(), squares.to_python(), trainer_->steps());
    }

    void load_optimiser(nb::list m, nb::list v, std::int64_t t) {
        const Alone alone(busy_, "Transformer");
        const Arrays means = arrays_of(trainer_->layout(), "m", m), squares = arrays_of(trainer_->layout(), "v", v);
        if (t < 0) throw std::invalid_argument("t, the number of steps, must be at least 0; got " + std::to_string(t));
        trainer_->load_optimiser(means.pointers, squares.pointers, t);
    }

    std::string instruction_set() const { return trainer_->instruction_set(); }
    std::size_t words() const { return trainer_->words().count(); }

  private:
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    // A copy: what has been checked must not change while the kernel runs without Python's lock.
    std::vector<std::int64_t> indices_of(const AnyArray &array) const {
        auto indices = copy_of<std::int64_t>(array);
        const std::int64_t end = std::int64_t(trainer_->words().count());
        for (std::int64_t index : indices)
            if (index < 0 || index >= end)
                throw nb::index_error(
                    ("index " + std::to_string(index) + " is outside the words, which are 0 to " + std::to_string(end - 1)).c_str());
        return indices;
    }

    std::vector<std::int64_t> batch_of(nb::handle value) const {
        const AnyArray array = array_of<std::int64_t>("indices", value, "int64");
        check_axes("indices", array, 1, "(batch,)");
        size_between("the batch, indices' length,", std::int64_t(array.shape(0)), 1, 1 << 20);
        return indices_of(array);
    }

    std::unique_ptr<TransformerTrainer> trainer_;
    std::atomic<bool> busy_{false};
};

}  // namespace

void add_transformer(nb::module_ &module) {
    nb::class_<PyTransformer>(
        module, "Transformer",
        "makemore's Transformer and its words, trained by a fused, hand-derived step with AdamW.\n\n"
        "parameters are float32 arrays wte (symbols, width), wpe (block_size, width); for each layer ln1_gain, ln1_bias (width,), attn_W (width,\n"
        "3 width), attn_b, proj_W (width, width), proj_b, ln2_gain, ln2_bias, fc_W (width, 4 width), fc_b, out_W (4 width, width), out_b; lnf_gain,\n"
        "lnf_bias, head_W (width, symbols); they are copied. words: each word's symbols with a 0 after them, uint8 or uint16; word w begins\n"
        "at offsets[w] and ends at offsets[w + 1]. With `share`, what words of a batch begin alike with is computed once.")
        .def(nb::init<nb::list, std::int64_t, std::int64_t, std::int64_t, nb::object, nb::object, bool>(), "parameters"_a, "layers"_a, "heads"_a,
             "block_size"_a, "words"_a.none(), "offsets"_a.none(), nb::kw_only(), "share"_a = true)
        .def("run", &PyTransformer::run, "indices"_a.none(), "rates"_a.none(), nb::kw_only(), "beta1"_a, "beta2"_a, "epsilon"_a, "decay"_a,
             "decayed"_a.none(), "clip"_a = std::numeric_limits<double>::infinity(), "threads"_a = 1,
             "Trains one step of AdamW for each row of indices (steps, batch), int64, the numbers of words, with rates (steps,), in so many\n"
             "threads, or in most_threads where that is less; the bits are the same. decayed: a flag for each parameter. clip: the largest\n"
             "norm of the gradient. Returns the losses (steps,), float32. Python's lock is released meanwhile.")
        .def("gradients", &PyTransformer::gradients, "indices"_a.none(),
             "The loss and the gradients for one batch, indices (batch,); the parameters stay as they are.")
        .def("rows_of", &PyTransformer::rows_of, "indices"_a.none(), "The live cells of a batch, and the rows that are computed for them.")
        .def("parameters", &PyTransformer::parameters, "Copies of the parameters, in the order and shapes they came in.")
        .def("load", &PyTransformer::load, "parameters"_a, "Puts these parameters in place of the present ones.")
        .def("optimiser", &PyTransformer::optimiser, "AdamW's means and mean squares, a list of arrays each, and the number of steps done.")
        .def("load_optimiser", &PyTransformer::load_optimiser, "m"_a, "v"_a, "t"_a, "Puts this state of AdamW in place of the present one.")
        .def_prop_ro("most_threads", [](const PyTransformer &) { return Team::most_threads; }, "How many threads can have a part in a step.")
        .def_prop_ro("instruction_set", &PyTransformer::instruction_set)
        .def_prop_ro("words", &PyTransformer::words, "The number of words.");
}

}  // namespace backproof
