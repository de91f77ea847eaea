#pragma once

#include <rocksdb/db.h>

#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "log/embedded/embedded_log.h"

namespace sonder::embedded {

enum class family : std::uint8_t { meta, records, index, offsets, state };
inline constexpr std::size_t families = 5;

[[nodiscard]] inline rocksdb::Slice slice(bytes_view b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}
[[nodiscard]] inline rocksdb::Slice slice(std::string_view s) {
  return {s.data(), s.size()};
}
[[nodiscard]] inline bytes_view bytes(const rocksdb::Slice& s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
[[nodiscard]] inline std::string_view text(const rocksdb::Slice& s) {
  return {s.data(), s.size()};
}

/// RocksDB with our column families and bounds. Thread-safe as RocksDB is, but for `catch_up`,
/// during which nothing else may be called.
class database {
 public:
  [[nodiscard]] static result<std::unique_ptr<database>> open(const std::filesystem::path& folder,
                                                              const embedded_options& options);
  ~database();
  database(const database&) = delete;
  database& operator=(const database&) = delete;

  [[nodiscard]] rocksdb::DB& rocks() noexcept { return *db_; }
  [[nodiscard]] rocksdb::ColumnFamilyHandle* at(family f) noexcept {
    return handles_[static_cast<std::size_t>(f)];
  }

  /// A secondary: everything that was committed before the call is visible after it, and nothing in
  /// part.
  [[nodiscard]] status catch_up();

  [[nodiscard]] result<bool> get(family f, std::string_view key, std::string& value);
  [[nodiscard]] result<bool> get(family f, std::string_view key, rocksdb::PinnableSlice& value);
  [[nodiscard]] std::unique_ptr<rocksdb::Iterator> iterate(family f,
                                                           const rocksdb::ReadOptions& how);
  /// What keys in [from, to) take, in files and not in files yet, by their indexes alone.
  [[nodiscard]] result<std::int64_t> approximate_bytes(family f, std::string_view from,
                                                       std::string_view to);

  /// RocksDB's status as ours: `data folder F: <doing>: ...` and what to do about it. A full disk is errc::unavailable: every later
  /// write looks whether there is space again.
  [[nodiscard]] tl::unexpected<error> failed(std::string_view doing,
                                             const rocksdb::Status& why) const;

 private:
  explicit database(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path folder_;
  std::filesystem::path reader_folder_;
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, families> handles_{};
};

}  // namespace sonder::embedded
