#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "avro/decode_plan.h"
#include "avro/schema.h"

namespace sonder {

/// Codecs of object container files. All are read; Apache Avro C, which writes, has the first
/// three.
enum class container_codec : std::uint8_t { null, deflate, snappy, bzip2, xz, zstandard };
[[nodiscard]] std::string_view name(container_codec codec) noexcept;
[[nodiscard]] result<container_codec> parse_container_codec(std::string_view name);

/// Reads an object container file record by record, with our own plans, so that a hostile file ends
/// as an error.
///
/// One thread. Holds one block at a time: at most `block_bytes_max` of it packed and as much
/// unpacked.
class container_reader {
 public:
  static constexpr std::size_t block_bytes_max = std::size_t{64} << 20;
  static constexpr std::size_t header_bytes_max = std::size_t{2} << 20;

  [[nodiscard]] static result<container_reader> open(const std::filesystem::path& file);
  /// Over bytes that outlive the reader.
  [[nodiscard]] static result<container_reader> over(bytes_view bytes);
  container_reader(container_reader&&) noexcept;
  container_reader& operator=(container_reader&&) noexcept;
  ~container_reader();

  [[nodiscard]] const schema_ptr& writer_schema() const noexcept;
  [[nodiscard]] container_codec codec() const noexcept;

  /// Reads on as `reader` (the file's own schema unless called), building `wanted` fields only.
  /// Before the first `read`.
  [[nodiscard]] status read_as(const schema& reader, std::span<const std::string> wanted = {});
  /// The columns that `read` fills: construct `columns` from these.
  [[nodiscard]] const std::vector<field>& fields() const noexcept;

  /// Appends up to `rows_max` rows; answers how many, 0 at the end of the file. An error says
  /// block, record and cause; after it the reader is at its end.
  [[nodiscard]] result<std::size_t> read(std::size_t rows_max, columns& into);
  /// Of blocks, packed and unpacked.
  [[nodiscard]] std::size_t bytes_held() const noexcept;

 private:
  struct state;
  explicit container_reader(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

/// Writes an object container file through Apache Avro C, with the schema's full JSON (labels,
/// defaults, logical types) in its header.
///
/// One thread. The file is complete once `close` has returned; a writer destroyed before leaves a
/// file that ends early.
class container_writer {
 public:
  /// `unsupported` for a codec that Apache Avro C lacks.
  [[nodiscard]] static result<container_writer> create(
      const std::filesystem::path& file, const schema& of,
      container_codec codec = container_codec::deflate);
  container_writer(container_writer&&) noexcept;
  container_writer& operator=(container_writer&&) noexcept;
  ~container_writer();

  /// One record's body, as an encode plan of the same schema makes it.
  [[nodiscard]] status append(bytes_view body);
  [[nodiscard]] status close();

 private:
  struct state;
  explicit container_writer(std::unique_ptr<state> s);
  static status end_block(state& s);
  std::unique_ptr<state> state_;
};

}  // namespace sonder
