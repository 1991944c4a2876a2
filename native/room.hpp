// Memory for strips: zeros to begin with, at a multiple of 64 bytes, so that a strip never straddles two cache lines.
#pragma once
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

namespace backproof {

class Room {
  public:
    Room() = default;
    explicit Room(std::size_t floats)
        : floats_(floats), data_(static_cast<float *>(::operator new(floats * sizeof(float), alignment))) {
        clear();
    }
    float *data() const { return data_.get(); }
    void clear() { std::memset(data_.get(), 0, floats_ * sizeof(float)); }

  private:
    static constexpr std::align_val_t alignment{64};
    struct Free {
        void operator()(float *data) const { ::operator delete(data, alignment); }
    };
    std::size_t floats_ = 0;
    std::unique_ptr<float[], Free> data_;
};

}  // namespace backproof
