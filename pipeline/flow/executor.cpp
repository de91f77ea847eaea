#include "flow/executor.h"

#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace sonder {

namespace {

class tbb_executor final : public executor {
 public:
  // No slot is kept for the coordinating thread: it waits for the log, and never works.
  explicit tbb_executor(std::int32_t threads)
      : allowed_(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads) + 1), arena_(threads, 0) {}
  ~tbb_executor() noexcept override { wait(); }

  void submit(std::function<void()> work) override {
    arena_.enqueue(group_.defer([work = std::move(work)] { work(); }));
  }
  void wait() override {
    arena_.execute([this] { group_.wait(); });
  }

 private:
  tbb::global_control allowed_;
  tbb::task_arena arena_;
  tbb::task_group group_;
};

class plain_executor final : public executor {
 public:
  explicit plain_executor(std::int32_t threads) {
    for (std::int32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  }
  ~plain_executor() override {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
      queue_.clear();
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  void submit(std::function<void()> work) override {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    changed_.notify_one();
  }
  void wait() override {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return queue_.empty() && running_ == 0; });
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || !queue_.empty(); });
      if (ending_) return;
      auto work = std::move(queue_.front());
      queue_.pop_front();
      ++running_;
      lock.unlock();
      work();
      lock.lock();
      --running_;
      if (queue_.empty() && running_ == 0) idle_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable idle_;
  std::deque<std::function<void()>> queue_;
  std::int32_t running_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<executor> make_tbb_executor(std::int32_t threads) { return std::make_unique<tbb_executor>(threads); }

std::unique_ptr<executor> make_plain_executor(std::int32_t threads) { return std::make_unique<plain_executor>(threads); }

}  // namespace sonder
