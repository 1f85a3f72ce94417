// The pool: chunks are claimed from one atomic cursor, so a worker that is late simply takes fewer of them.
//
//   cursor = job number (high 32 bits) | chunks not yet claimed (low 32 bits)
//
// A claim is a compare-and-swap from (job, left) to (job, left - 1). It can only succeed while the job is open,
// and the caller changes the job's fields only when every claimed chunk is done: so a claimed chunk may read the
// fields, and the caller waits for chunks in work but never for a thread that has not claimed one.
//
// A worker without work spins for SPIN_NS, then sleeps in the kernel; while somebody holds the workers they go on spinning,
// because waking one takes as long as a small call (tens of microseconds on a virtual machine). When there are as many threads as cores,
// each worker is pinned to one; the core that is left is the caller's, and if the caller wanders onto a worker's
// core the two change places.
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

namespace quire {
namespace {

constexpr int MAX_THREADS = 256;
constexpr int64_t SPIN_NS = 40'000;

struct Worker {
    pthread_t thread;
    std::atomic<pid_t> id{0};
    int core = -1;  // pinned to; -1 leaves it to the system
};

std::atomic<uint64_t> cursor{0};
std::atomic<uint32_t> job{0};  // the number in cursor, alone, to sleep on
std::atomic<uint32_t> sleeping{0};
std::atomic<int> holders{0};
std::atomic<int64_t> done{0};
std::atomic<bool> stopping{false};
Body job_body;
void* job_context;
int64_t job_chunks;

pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;  // held during a call
Worker workers[MAX_THREADS];
int num_workers = 0;
int caller_core = -1;

int64_t now_ns() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

void futex(std::atomic<uint32_t>* word, int operation, uint32_t value) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

// Claims and runs chunks until none is left.
void work() {
    uint64_t seen = cursor.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(seen)) {
        if (!cursor.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel)) continue;
        job_body(job_context, job_chunks - static_cast<uint32_t>(seen));
        done.fetch_add(1, std::memory_order_release);
        seen = cursor.load(std::memory_order_acquire);
    }
}

void wait_for_work(uint32_t last) {
    int64_t until = now_ns() + SPIN_NS;
    while (job.load(std::memory_order_acquire) == last) {
        for (int i = 0; i < 8; ++i) pause();
        if (holders.load(std::memory_order_relaxed) || now_ns() < until) continue;
        sleeping.fetch_add(1);
        futex(&job, FUTEX_WAIT, last);
        sleeping.fetch_sub(1);
        until = now_ns() + SPIN_NS;
    }
}

void* run_worker(void* self) {
    static_cast<Worker*>(self)->id = static_cast<pid_t>(syscall(SYS_gettid));
    pthread_setname_np(pthread_self(), "quire-native");
    uint32_t last = job.load();
    while (!stopping) {
        work();
        wait_for_work(last);
        last = job.load(std::memory_order_acquire);
    }
    return nullptr;
}

void publish(uint32_t chunks) {
    uint32_t number = job.load(std::memory_order_relaxed) + 1;
    cursor.store(static_cast<uint64_t>(number) << 32 | chunks, std::memory_order_release);
    job.store(number);  // sequentially consistent, as is `sleeping`: one of the two sides sees the other
    if (sleeping.load()) futex(&job, FUTEX_WAKE, MAX_THREADS);
}

void pin(Worker& worker, int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    worker.core = core;
    if (pid_t id = worker.id) sched_setaffinity(id, sizeof set, &set);
}

void keep_out_of_the_callers_way() {
    if (caller_core < 0) return;
    int core = sched_getcpu();
    if (core == caller_core) return;
    for (int i = 0; i < num_workers; ++i) {
        if (workers[i].core == core) pin(workers[i], caller_core);
    }
    caller_core = core;
}

void stop_workers() {
    stopping = true;
    publish(0);
    for (int i = 0; i < num_workers; ++i) pthread_join(workers[i].thread, nullptr);
    stopping = false;
    num_workers = 0;
}

void start_workers(int count) {
    cpu_set_t granted;
    bool each_has_a_core = sched_getaffinity(0, sizeof granted, &granted) == 0 && CPU_COUNT(&granted) == count + 1;
    caller_core = each_has_a_core ? sched_getcpu() : -1;
    int core = 0;
    for (num_workers = 0; num_workers < count; ++num_workers) {
        Worker& worker = workers[num_workers];
        worker.id = 0;
        worker.core = -1;
        if (pthread_create(&worker.thread, nullptr, run_worker, &worker) != 0) return;  // fewer will do
        if (!each_has_a_core) continue;
        while (!worker.id) sched_yield();
        while (core == caller_core || !CPU_ISSET(core, &granted)) ++core;
        pin(worker, core++);
    }
}

// The child of a fork has the caller's thread only.
void forget_workers() {
    num_workers = 0;
    sleeping = 0;
    holders = 0;
    pthread_mutex_init(&busy, nullptr);
}

}  // namespace

void run_chunks(Body body, void* context, int64_t chunks) {
    bool shared = chunks > 1 && num_workers && pthread_mutex_trylock(&busy) == 0;
    if (!shared) {  // another thread's call has the workers
        for (int64_t chunk = 0; chunk < chunks; ++chunk) body(context, chunk);
        return;
    }
    keep_out_of_the_callers_way();
    job_body = body;
    job_context = context;
    job_chunks = chunks;
    done.store(0, std::memory_order_relaxed);
    publish(static_cast<uint32_t>(chunks));
    work();
    for (int spins = 0; done.load(std::memory_order_acquire) != chunks; ++spins) {
        if (spins < 2000) pause();
        else sched_yield();  // a worker lost its core in the middle of a chunk
    }
    pthread_mutex_unlock(&busy);
}

void hold_workers() {
    holders.fetch_add(1);
    if (sleeping.load()) futex(&job, FUTEX_WAKE, MAX_THREADS);
}

void release_workers() { holders.fetch_sub(1); }

void set_threads(int count) {
    count = count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count;
    pthread_mutex_lock(&busy);
    static bool knows_forks = false;
    if (!knows_forks) knows_forks = pthread_atfork(nullptr, nullptr, forget_workers) == 0;
    if (count != num_workers + 1) {
        stop_workers();
        start_workers(count - 1);
    }
    pthread_mutex_unlock(&busy);
}

int threads() { return num_workers + 1; }

}  // namespace quire
