#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "log/kafka/kafka_log.h"
#include "log/kafka/properties.h"

struct rd_kafka_s;
struct rd_kafka_conf_s;
struct rd_kafka_error_s;
struct rd_kafka_topic_partition_list_s;

namespace sonder::kafka {

/// What all clients of a log complained of. Thread-safe.
class client_counts {
 public:
  void connection_failed(client_role of) noexcept { add(connections_, of); }
  void complained(client_role of) noexcept { add(errors_, of); }
  void add_to(log_figures& figures) const noexcept;

 private:
  using counts = std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(log_figures::connection::count)>;
  static void add(counts& to, client_role of) noexcept;
  counts connections_{};
  counts errors_{};
};

/// One instance of librdkafka's client, with its lines and its last complaint.
///
/// Thread-safe as librdkafka is. Nothing polls its main queue unless its owner does; errors that
/// librdkafka would report there come as lines instead.
class client {
 public:
  struct wiring {
    client_role role = client_role::query;
    std::string group;             ///< group.id, where the role has one
    std::string transactional_id;  ///< role transaction
    /// Sets callbacks before the instance is made. `owner_of` answers `owner` in them.
    void (*prepare)(rd_kafka_conf_s*) = nullptr;
    void* owner = nullptr;
  };

  /// errc::invalid: librdkafka refuses a property.
  [[nodiscard]] static result<std::unique_ptr<client>> make(const kafka_options& options,
                                                            const wiring& wired);
  /// Waits for librdkafka's threads; what is in flight is dropped.
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  [[nodiscard]] rd_kafka_s* get() const noexcept { return instance_; }
  [[nodiscard]] const std::string& bootstrap() const noexcept { return bootstrap_; }
  [[nodiscard]] static void* owner_of(const rd_kafka_s* instance) noexcept;

  /// What this instance complained of most recently ("127.0.0.1:9092: connection refused"); empty:
  /// nothing.
  [[nodiscard]] std::string last_complaint() const;
  /// Whether a broker has refused this client (`says_refused`) at any time.
  [[nodiscard]] bool refused() const;

  /// Waits until a broker answers. errc::invalid where credentials are refused, errc::unavailable.
  [[nodiscard]] status connect(std::chrono::milliseconds at_most);

  /// Commits offsets for this instance's group, as its member if it is one. `note` is kept beside each.
  [[nodiscard]] status commit_offsets(std::span<const consumed_offset> offsets,
                                      std::chrono::milliseconds at_most, std::string_view doing,
                                      std::string_view note = {});

  /// What this instance's group has committed, into each entry; it waits for a transaction that may
  /// still change the answer. librdkafka's code of the first that failed. For role query: of a
  /// group whose coordinator this user may not know, librdkafka tells nobody who asks; that it is
  /// refused is found in the instance's own queue.
  [[nodiscard]] int committed(rd_kafka_topic_partition_list_s* of,
                              std::chrono::milliseconds at_most);

  /// Replaces the time in each entry (of a record, or librdkafka's number for the beginning or the end) by the first offset from it
  /// on, -1 where there is none. librdkafka's code of the first that failed: who asks again then is answered by the leader of now,
  /// which it would not learn of by itself before its next refresh of metadata (2.0.2; librdkafka's issue 4620).
  [[nodiscard]] int offsets_for_times(rd_kafka_topic_partition_list_s* times, std::chrono::milliseconds at_most) const;

  /// The destructor does not leave the group, which takes the member out when its session is over.
  void leave_unsaid() noexcept { leave_unsaid_ = true; }

  /// librdkafka's code (rd_kafka_resp_err_t) as an error: `doing`, what it means, the last
  /// complaint where it is about connections, and the next step where there is one.
  [[nodiscard]] tl::unexpected<error> fail(int code, std::string_view doing,
                                           std::string_view detail = {}) const;
  /// Consumes `from`.
  [[nodiscard]] tl::unexpected<error> fail(rd_kafka_error_s* from, std::string_view doing) const;

 private:
  client() = default;
  [[nodiscard]] int or_refused_group(int code);
  void ask_for_leaders(const rd_kafka_topic_partition_list_s* of, std::chrono::milliseconds at_most) const;
  static void take_line(const rd_kafka_s* instance, int level, const char* facility,
                        const char* text);

  rd_kafka_s* instance_ = nullptr;
  std::string bootstrap_;
  void* owner_ = nullptr;
  std::function<void(int, std::string_view)> on_line_;
  std::shared_ptr<client_counts> counts_;  ///< may be null
  client_role role_ = client_role::query;
  bool leave_unsaid_ = false;
  mutable std::mutex complaint_mutex_;
  std::string complaint_;  ///< guarded by complaint_mutex_
  bool refused_ = false;   ///< guarded by complaint_mutex_
  std::atomic<bool> group_refused_{false};
};

/// Librdkafka's list of these offsets, with `note` beside each; the caller's to destroy.
[[nodiscard]] rd_kafka_topic_partition_list_s* list_of(std::span<const consumed_offset> offsets,
                                                       std::string_view note = {});

/// Whether a line of librdkafka (without its thread) says that a broker wants nothing of this
/// client as it is configured: wrong credentials, a mechanism it does not have, a certificate that
/// one of both does not trust. Not so where the connection merely broke while it was being made, as
/// it does to a broker that restarts, or to a balancer with none behind it.
[[nodiscard]] bool says_refused(std::string_view line) noexcept;

/// Our code for librdkafka's.
[[nodiscard]] errc classify(int code) noexcept;

}  // namespace sonder::kafka
