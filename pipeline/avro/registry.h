#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "avro/schema.h"

namespace sonder {

/// What a registry's client did, for metrics and tests; zero where nobody is asked.
struct registry_figures {
  std::uint64_t requests = 0;
  std::uint64_t failures = 0;  ///< requests without a usable answer
  bool open = false;           ///< the circuit breaker: nobody is asked at the moment
};

/// The port to where schemas have their ids. Safe to use from many threads. Not for the path of a
/// record: callers keep what they looked up.
class schema_registry {
 public:
  virtual ~schema_registry() = default;

  /// The id of the schema under `subject`, given it now if it has none. Equal full JSON means equal
  /// id, whatever the subject.
  [[nodiscard]] virtual result<std::int32_t> register_schema(std::string_view subject,
                                                             const schema& of) = 0;
  /// The id that it has already, or `not_found`.
  [[nodiscard]] virtual result<std::int32_t> id_of(const schema& of) = 0;
  /// `not_found` for an id that was never given.
  [[nodiscard]] virtual result<schema_ptr> by_id(std::int32_t id) = 0;
  /// The versions of a subject, oldest first: (id, schema). Empty for a subject that nobody
  /// registered.
  [[nodiscard]] virtual result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions(
      std::string_view subject) = 0;
  /// The same, with a null for each schema that is there and cannot be read, where `versions` says `unsupported`.
  [[nodiscard]] virtual result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions_and_unreadable(std::string_view subject) {
    return versions(subject);
  }
  [[nodiscard]] virtual result<std::vector<std::string>> subjects() = 0;
  /// Whether `by_id` answers `not_found` because nobody has answered for too long, not because there is none.
  [[nodiscard]] virtual bool given_up(std::int32_t /*id*/) const { return false; }
  /// From any thread; never waits.
  [[nodiscard]] virtual registry_figures figures() const { return {}; }
};

/// Where a registry keeps its ids: an append-only list of entries. The embedded log keeps it in its
/// own database; a folder keeps it in a file. Calls come one at a time.
class schema_index {
 public:
  struct entry {
    std::int32_t id = 0;
    std::string subject;
    std::string json;  ///< the full JSON as `to_json` gives it

    bool operator==(const entry&) const = default;
  };

  virtual ~schema_index() = default;
  /// Every entry, in the order in which they were added.
  [[nodiscard]] virtual result<std::vector<entry>> load() = 0;
  /// Durable once it returns.
  [[nodiscard]] virtual status add(const entry& e) = 0;
};

/// An index in one JSON-lines file. A line that was cut off by a crash is dropped at the next load.
[[nodiscard]] std::unique_ptr<schema_index> make_file_index(std::filesystem::path file);
/// An index that lives as long as the object, for tests and the testing host.
[[nodiscard]] std::unique_ptr<schema_index> make_memory_index();

/// A registry over an index: ids count up from 1.
class indexed_registry final : public schema_registry {
 public:
  [[nodiscard]] static result<std::unique_ptr<indexed_registry>> open(
      std::unique_ptr<schema_index> index);

  [[nodiscard]] result<std::int32_t> register_schema(std::string_view subject,
                                                     const schema& of) override;
  [[nodiscard]] result<std::int32_t> id_of(const schema& of) override;
  [[nodiscard]] result<schema_ptr> by_id(std::int32_t id) override;
  [[nodiscard]] result<std::vector<std::pair<std::int32_t, schema_ptr>>> versions(
      std::string_view subject) override;
  [[nodiscard]] result<std::vector<std::string>> subjects() override;

  /// Registers every `*.avsc` of the folder, by file name, under the file's name without its
  /// extension. Answers how many there are. A file that does not parse is an error that names the
  /// file.
  [[nodiscard]] result<std::size_t> register_folder(const std::filesystem::path& folder);

 private:
  explicit indexed_registry(std::unique_ptr<schema_index> index) : index_(std::move(index)) {}
  status take(schema_index::entry e);
  /// Reads what another process added to a shared index since.
  status refresh();

  std::mutex mutex_;
  std::unique_ptr<schema_index> index_;
  std::vector<schema_index::entry> entries_;
  std::unordered_map<std::string, std::int32_t> ids_;  ///< by full JSON
  std::unordered_map<std::int32_t, schema_ptr> schemas_;
  std::int32_t id_last_ = 0;
};

/// Parses one schema file; errors begin with its path.
[[nodiscard]] result<schema_ptr> load_schema_file(const std::filesystem::path& file);

}  // namespace sonder
