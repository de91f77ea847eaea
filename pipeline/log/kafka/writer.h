#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "log/kafka/client.h"
#include "log/kafka/local_state.h"
#include "log/kafka/topics.h"
#include "log/log.h"

struct rd_kafka_consumer_group_metadata_s;
struct rd_kafka_error_s;

namespace sonder::kafka {

class producer;

/// Writes epochs as transactions, and records outside epochs.
///
/// Thread-safe; epochs follow one another. README.md has the table of what it does at each error of
/// the protocol. A commit takes at most `transaction_timeout`, twice `request_timeout`, one answer
/// of `check_place` and the time that librdkafka needs to end a client.
class writer {
 public:
  /// Whether the place in `group` that this process commits from is its own still; errc::fenced:
  /// another has it.
  using place_check = std::function<status(std::string_view group)>;

  /// Both outlive it. No broker is asked before the first write. `check_place` is asked before the
  /// transactional id is taken again after a failure: whoever has it by then would be fenced by
  /// that.
  writer(const kafka_options& options, topics& known, place_check check_place);
  ~writer();
  writer(const writer&) = delete;
  writer& operator=(const writer&) = delete;

  /// Takes the transactional id of the group and the instance, under exactly_once: whoever had it
  /// is fenced, and what it left open is aborted before this returns. errc::unavailable: no
  /// coordinator answers.
  [[nodiscard]] status take_over(std::string_view group);

  /// Writes one epoch, with state changes into their changelogs, and puts where these ended into
  /// `reached`. `member` is the group's metadata of the assignment that the epoch worked under.
  /// Under at_least_once offsets are the caller's to commit, after this. `note` is kept beside each
  /// offset.
  [[nodiscard]] status commit(const epoch_changes& epoch,
                              const rd_kafka_consumer_group_metadata_s* member,
                              std::vector<changelog_position>& reached,
                              std::string_view note = {});

  /// As in the port.
  [[nodiscard]] status append(std::span<const produced_batch> batches);

  /// What became of epochs, and what the one under way does. From any thread; waits for nothing.
  void add_to(log_figures& figures) const noexcept;

  [[nodiscard]] bool writes_for(std::string_view group);
  [[nodiscard]] std::string transactional_id(std::string_view group) const;

 private:
  using clock = std::chrono::steady_clock;

  [[nodiscard]] status check(std::span<const produced_batch> batches);
  [[nodiscard]] status check_changes(const epoch_changes& epoch);
  [[nodiscard]] result<std::int64_t> record_bytes_max(std::string_view topic);
  [[nodiscard]] status make_transactional();
  [[nodiscard]] status take_again();
  [[nodiscard]] result<producer*> outside_epochs();
  [[nodiscard]] status write_transaction(const epoch_changes& epoch,
                                         const rd_kafka_consumer_group_metadata_s* member,
                                         std::vector<changelog_position>& reached,
                                         std::string_view note);
  [[nodiscard]] status write_plainly(producer& on, const epoch_changes& epoch,
                                     std::vector<changelog_position>& reached);
  [[nodiscard]] status end_failed(rd_kafka_error_s* from, std::string_view doing);
  [[nodiscard]] error cause_of(error refused, clock::time_point until);
  [[nodiscard]] status end_failed(error why, bool abort, bool group_changed = false);
  [[nodiscard]] status send_offsets(const epoch_changes& epoch,
                                    const rd_kafka_consumer_group_metadata_s* member,
                                    std::string_view note);
  [[nodiscard]] std::chrono::milliseconds left() const;
  using transaction_state = log_figures::transaction_state;
  using transaction_end = log_figures::transaction_end;
  void step(std::string_view name, transaction_state now) {
    state_.store(now, std::memory_order_relaxed);
    if (options_.on_step) options_.on_step(name);
  }
  void ended(transaction_end how) noexcept {
    ends_[static_cast<std::size_t>(how)].fetch_add(1, std::memory_order_relaxed);
    state_.store(transaction_state::idle, std::memory_order_relaxed);
  }
  void count_failure(errc code, bool group_changed, bool expired) noexcept;

  const kafka_options& options_;
  topics& topics_;
  const place_check check_place_;
  std::string instance_;

  std::mutex epoch_mutex_;
  std::string group_;                        ///< guarded by epoch_mutex_, as all down to `began_`
  std::unique_ptr<producer> transactional_;  ///< null: to be made before the next epoch
  std::optional<error> fenced_;              ///< for good
  clock::time_point began_;                  ///< the transaction under way

  std::atomic<transaction_state> state_{transaction_state::idle};
  std::atomic<std::int64_t> began_ns_{0};  ///< `began_`, for `add_to`
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(transaction_end::count)> ends_{};

  std::mutex append_mutex_;
  std::unique_ptr<producer> plain_;  ///< guarded by append_mutex_

  std::mutex sizes_mutex_;
  std::map<std::string, std::int64_t, std::less<>> sizes_;  ///< guarded by sizes_mutex_
};

}  // namespace sonder::kafka
