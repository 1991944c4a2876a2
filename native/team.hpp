// Threads that do one thing together, again and again, and meet in between.
#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace backproof {

// The caller's thread is number 0; the others are started when they are first needed, and live as long as the team. Who waits looks
// again and again for a moment, since the others are mostly less than a microsecond behind, and then sleeps: where the cores are taken by
// other programs, or nothing is to be done, nobody spins.
class Team {
  public:
    Team() = default;
    ~Team();
    Team(const Team &) = delete;

    static constexpr int most_threads = 16;

    // Starts what is missing of so many threads, at most `most_threads`, the caller's one among them. Returns how many there are: fewer where the system
    // gives no more.
    int gather(int threads);

    // Calls work(thread) in so many threads that have been gathered; returns when all have returned. `work` must not throw.
    template <class Work>
    void run(int threads, const Work &work) {
        run(threads, [](const void *given, int thread) { (*static_cast<const Work *>(given))(thread); }, &work);
    }

    // Within `run`, by each of its threads: waits until all are here. What each wrote before, all can read after.
    void meet(int thread);

  private:
    using Call = void (*)(const void *work, int thread);

    // A number that one thread raises, and others wait for. Each thread has its own, in a cache line of its own: so that to meet takes the way
    // from one core to the other once, and not there and back to a number that all would raise.
    struct alignas(128) Count {
        std::atomic<std::uint32_t> value{0};
    };

    struct Crew {
        std::array<Count, most_threads> met;     // how often each thread has met the others
        std::array<Count, most_threads> called;  // how often it was called: who is not called is not waited for either
        std::vector<std::thread> threads;
        int size = 1;  // of them that were called
        Call call = nullptr;  // null: go home
        const void *work = nullptr;
        int process = 0;
        std::atomic<int> sleepers{0};
        std::mutex mutex;
        std::condition_variable raised;
    };

    void run(int threads, Call call, const void *work);
    bool is_here() const;
    static void serve(Crew &crew, int thread);
    static void meet(Crew &crew, int thread, int size);
    static void raise(Crew &crew, Count &count, std::uint32_t value);
    static void wait_for(Crew &crew, const Count &count, std::uint32_t value);

    Crew *crew_ = nullptr;  // a child of fork has none of its threads, and leaves it to its parent
};

}  // namespace backproof
