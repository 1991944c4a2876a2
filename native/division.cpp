#include "division.hpp"

namespace backproof {

namespace {

constexpr int least_strips = 6;

int ceil_of(int n, int part, int parts) { return int((std::int64_t(n) * part + parts - 1) / parts); }

// Adds up the groups first..last into `first`: by the part that has them all, or, as far as several have them, between the parts.
void add_up(int first, int last, const std::vector<int> &owner, std::vector<std::vector<Addition>> &own, std::vector<std::vector<int>> &left,
            std::vector<Addition> &between) {
    const int part = owner[first];
    if (owner[last - 1] == part) {
        left[part].push_back(first);
        for (int distance = 1; distance < last - first; distance *= 2)
            for (int group = first; group < last; group += 2 * distance) own[part].push_back({group, group + distance});
        return;
    }
    const int middle = first + (last - first) / 2;
    add_up(first, middle, owner, own, left, between);
    add_up(middle, last, owner, own, left, between);
    between.push_back({first, middle});
}

}  // namespace

int groups_of(const Shape &shape) {
    int groups = 1;
    while (groups < most_groups && 2 * groups * least_strips <= strips_of(shape.hidden)) groups *= 2;
    return groups;
}

Division::Division(const Shape &shape, int threads) {
    const int groups = groups_of(shape), strips = strips_of(shape.hidden);
    threads = threads < 1 ? 1 : threads < groups ? threads : groups;
    for (int group = 0; group <= groups; ++group) first_strip_.push_back(ceil_of(strips, group, groups));
    std::vector<int> owner;
    for (int thread = 0; thread < threads; ++thread) owner.resize(ceil_of(groups, thread + 1, threads), thread);
    own_.resize(threads);
    left_.resize(threads);
    add_up(0, groups, owner, own_, left_, between_);
    for (int thread = 0; thread < threads; ++thread) {
        Part part{};
        part.number = thread;
        part.parts = threads;
        part.first_group = ceil_of(groups, thread, threads);
        part.last_group = ceil_of(groups, thread + 1, threads);
        part.first_strip = first_strip_.data();
        part.own = own_[thread].data();
        part.own_count = int(own_[thread].size());
        part.between = between_.data();
        part.between_count = int(between_.size());
        part.left = left_[thread].data();
        part.left_count = int(left_[thread].size());
        parts_.push_back(part);
    }
}

std::vector<int> Division::left() const {
    std::vector<int> all;
    for (const auto &some : left_) all.insert(all.end(), some.begin(), some.end());
    return all;
}

}  // namespace backproof
