#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "avro/schema.h"
#include "record/columns.h"
#include "record/result.h"

namespace sonder::cli {

enum class feed_form : std::uint8_t { json_lines, csv, container };

/// By the file's extension: `.jsonl` `.ndjson` `.json`, `.csv` `.tsv`, `.avro`.
[[nodiscard]] result<feed_form> form_of(const std::string& path);

/// Rows of a record schema from a file or standard input, some at a time.
///
/// One thread; memory does not grow with the input. Errors say `file:line:` (or row) and name the
/// field, never a value.
class row_feed {
 public:
  struct options {
    feed_form form = feed_form::json_lines;
    char separator = ',';
    /// field of the schema -> column of the CSV header; the other fields take the columns of their
    /// name, and what no field takes is passed over.
    std::vector<std::pair<std::string, std::string>> map;
    bool ignore_unknown = false;  ///< members of JSON rows that the schema lacks
    std::vector<std::string> key = {};  ///< fields of the topic's key, for tombstones
    bool tombstones = false;            ///< every row is a key whose record goes
  };

  virtual ~row_feed() = default;
  /// Appends up to `rows_max` rows; answers how many, 0 at the end.
  [[nodiscard]] virtual result<std::size_t> read(std::size_t rows_max, columns& into) = 0;
  /// The columns that `read` fills.
  [[nodiscard]] virtual const std::vector<field>& fields() const = 0;
  /// Of the rows that the last `read` appended (and perhaps beyond), 1 for each that has a key and
  /// no value: its other columns mean nothing. Empty: all have values. A JSON line `{"key": KEY, "value": null}` is one.
  [[nodiscard]] const std::vector<std::uint8_t>& tombstones() const noexcept { return tombstones_; }

 protected:
  std::vector<std::uint8_t> tombstones_;
};

/// `path` "-" is standard input (not for a container file). `of` is a record.
[[nodiscard]] result<std::unique_ptr<row_feed>> open_feed(const std::string& path, schema_ptr of,
                                                          const row_feed::options& options);
/// The same over an open stream, named `name` in errors; the stream outlives the feed. Not for a
/// container file.
[[nodiscard]] result<std::unique_ptr<row_feed>> feed_from(std::istream& in, const std::string& name,
                                                          schema_ptr of,
                                                          const row_feed::options& options);

/// The texts of one column (CSV), member (JSON lines) or string field (container file), one a call;
/// false at the end.
class text_feed {
 public:
  virtual ~text_feed() = default;
  [[nodiscard]] virtual result<bool> next(std::string& text) = 0;
};
[[nodiscard]] result<std::unique_ptr<text_feed>> open_texts(const std::string& path,
                                                            const std::string& column);

}  // namespace sonder::cli
