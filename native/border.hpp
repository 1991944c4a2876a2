// The border to Python: what checks and copies have in common.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace nb = nanobind;

namespace backproof {

using AnyArray = nb::ndarray<nb::ro>;
using Sizes = std::vector<std::size_t>;

inline std::string text_of(const Sizes &sizes) {
    std::string text = "(";
    for (std::size_t size : sizes) text += std::to_string(size) + (sizes.size() == 1 ? "," : ", ");
    if (sizes.size() > 1) text.resize(text.size() - 2);
    return text + ")";
}

inline std::string python_type(nb::handle value) { return nb::cast<std::string>(value.type().attr("__name__")); }

inline Sizes sizes_of(const AnyArray &array) {
    Sizes sizes;
    for (std::size_t i = 0; i < array.ndim(); ++i) sizes.push_back(array.shape(i));
    return sizes;
}

// An array in the computer's own memory, row by row without gaps; nothing is converted or copied behind the caller's back.
inline AnyArray array_of(const std::string &name, nb::handle value) {
    AnyArray array;
    if (!nb::try_cast(value, array, false)) {
        if (nb::hasattr(value, "dtype"))  // an array, but of objects, of text, or of the other byte order
            throw nb::type_error((name + " must hold numbers in this processor's own byte order; got dtype " +
                                  nb::str(nb::object(value.attr("dtype"))).c_str() + "; convert it with .astype").c_str());
        throw nb::type_error((name + " must be a numpy array; got " + python_type(value)).c_str());
    }
    if (array.device_type() != nb::device::cpu::value)
        throw nb::type_error((name + " must be in the processor's memory; copy it there first").c_str());
    std::int64_t stride = 1;
    for (std::size_t i = array.ndim(); i-- > 0;) {
        if (array.size() > 0 && array.shape(i) > 1 && array.stride(i) != stride)
            throw std::invalid_argument(name + " must be contiguous, row by row; pass numpy.ascontiguousarray of it");
        stride *= std::int64_t(array.shape(i));
    }
    return array;
}

template <class T>
AnyArray array_of(const std::string &name, nb::handle value, const char *type) {
    AnyArray array = array_of(name, value);
    if (array.dtype() != nb::dtype<T>())
        throw nb::type_error((name + " must be of type " + type + "; convert it with .astype(numpy." + type + ")").c_str());
    return array;
}

inline int size_between(const std::string &name, std::int64_t value, int least, int most) {
    if (value < least || value > most)
        throw std::invalid_argument(name + " must be between " + std::to_string(least) + " and " + std::to_string(most) + "; got " +
                                    std::to_string(value));
    return int(value);
}

// A numpy array of its own memory.
struct OwnedArray {
    explicit OwnedArray(const Sizes &sizes) : sizes(sizes) {
        std::size_t count = 1;
        for (std::size_t size : sizes) count *= size;
        data = new float[count]();
        owner = nb::capsule(data, [](void *memory) noexcept { delete[] static_cast<float *>(memory); });
    }
    nb::object to_python() const {
        return nb::cast(nb::ndarray<nb::numpy, float>(data, sizes.size(), sizes.data(), owner), nb::rv_policy::reference);
    }
    Sizes sizes;
    float *data;
    nb::capsule owner;
};

// While one thread of Python is inside with the lock released, another must not come in.
class Alone {
  public:
    Alone(std::atomic<bool> &busy, const char *name) : busy_(busy) {
        if (busy_.exchange(true)) throw std::runtime_error("this " + std::string(name) + " is at work in another thread; give each thread its own");
    }
    ~Alone() { busy_ = false; }
    Alone(const Alone &) = delete;

  private:
    std::atomic<bool> &busy_;
};

}  // namespace backproof
