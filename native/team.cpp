#include "team.hpp"

#include <chrono>
#include <system_error>

#if defined(_WIN32)
#include <process.h>
#define getpid _getpid
#else
#include <csignal>
#include <unistd.h>
#endif

namespace backproof {

namespace {

// Above what the threads of a step are apart in the median, a microsecond, and what a step takes, 10 of them; and far below the
// milliseconds that another program has a core for.
constexpr std::chrono::microseconds patience{50};

void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Signals are for the thread that called, where Python looks for them.
class WithoutSignals {
  public:
#if defined(_WIN32)
    WithoutSignals() {}
#else
    WithoutSignals() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~WithoutSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_;
#endif
};

}  // namespace

void Team::raise(Crew &crew, Count &count, std::uint32_t value) {
    count.value.store(value);
    if (crew.sleepers.load() == 0) return;  // who goes to sleep after this sees the new value before
    const std::lock_guard<std::mutex> lock(crew.mutex);
    crew.raised.notify_all();
}

void Team::wait_for(Crew &crew, const Count &count, std::uint32_t value) {
    // By their difference: after 2^32 meetings they begin at 0 again.
    const auto is_there = [&] { return std::int32_t(count.value.load(std::memory_order_acquire) - value) >= 0; };
    for (int i = 0; i < 64; ++i)
        if (is_there()) return;
    const auto end = std::chrono::steady_clock::now() + patience;
    do {
        for (int i = 0; i < 64; ++i) {
            if (is_there()) return;
            pause();
        }
    } while (std::chrono::steady_clock::now() < end);
    std::unique_lock<std::mutex> lock(crew.mutex);
    ++crew.sleepers;
    crew.raised.wait(lock, [&] { return std::int32_t(count.value.load() - value) >= 0; });
    --crew.sleepers;
}

bool Team::is_here() const { return crew_ && crew_->process == int(getpid()); }

int Team::gather(int threads) {
    if (!is_here()) {
        crew_ = new Crew;
        crew_->process = int(getpid());
    }
    const WithoutSignals without;
    for (int thread = int(crew_->threads.size()) + 1; thread < threads; ++thread) try {
            crew_->threads.emplace_back(serve, std::ref(*crew_), thread);
        } catch (const std::system_error &) {
            return thread;
        }
    return threads;
}

void Team::run(int threads, Call call, const void *work) {
    if (threads == 1) {
        call(work, 0);
        return;
    }
    crew_->size = threads;
    crew_->call = call;
    crew_->work = work;
    const std::uint32_t met = crew_->met[0].value.load();
    for (int thread = 1; thread < threads; ++thread) {
        crew_->met[thread].value.store(met);  // it may have missed some, when fewer were called
        raise(*crew_, crew_->called[thread], crew_->called[thread].value.load() + 1);
    }
    call(work, 0);
    meet(*crew_, 0, threads);
    crew_->size = 1;
}

void Team::meet(int thread) {
    if (crew_ && crew_->size > 1) meet(*crew_, thread, crew_->size);
}

void Team::meet(Crew &crew, int thread, int size) {
    const std::uint32_t next = crew.met[thread].value.load(std::memory_order_relaxed) + 1;
    raise(crew, crew.met[thread], next);
    for (int other = 0; other < size; ++other)
        if (other != thread) wait_for(crew, crew.met[other], next);
}

void Team::serve(Crew &crew, int thread) {
    for (std::uint32_t calls = 1;; ++calls) {
        wait_for(crew, crew.called[thread], calls);
        if (!crew.call) return;
        const int size = crew.size;  // at the last meeting the next call may already change it
        crew.call(crew.work, thread);
        meet(crew, thread, size);
    }
}

Team::~Team() {
    if (!is_here()) return;
    crew_->call = nullptr;
    for (int thread = 1; thread <= int(crew_->threads.size()); ++thread)
        raise(*crew_, crew_->called[thread], crew_->called[thread].value.load() + 1);
    for (std::thread &thread : crew_->threads) thread.join();
    delete crew_;
}

}  // namespace backproof
