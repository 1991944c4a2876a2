// Who does what of a step: the hidden strips in groups, and the groups dealt out to threads.
#pragma once
#include <vector>

#include "kernel.hpp"

namespace backproof {

// Groups of at least 6 strips, 2, 4, 8 or 16 of them: with fewer strips a group, adding up the lanes of what is summed over the hidden units
// once a group would cost one thread more than a hundredth of its time. It says nothing of threads: the bits depend on it.
int groups_of(const Shape &shape);

// The parts of `threads` threads, at most as many as there are groups. Holds what the parts point to.
class Division {
  public:
    Division(const Shape &shape, int threads);
    Division(const Division &) = delete;

    const Part &part(int thread) const { return parts_[thread]; }
    int threads() const { return int(parts_.size()); }
    // The groups that hold a sum after the parts have added up what they can.
    std::vector<int> left() const;

  private:
    std::vector<int> first_strip_;
    std::vector<std::vector<Addition>> own_;
    std::vector<std::vector<int>> left_;
    std::vector<Addition> between_;
    std::vector<Part> parts_;
};

}  // namespace backproof
