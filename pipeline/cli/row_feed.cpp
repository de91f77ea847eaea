#include "cli/row_feed.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "avro/container.h"
#include "avro/json.h"
#include "cli/csv.h"
#include "plugin/config_schema.h"

namespace sonder::cli {
namespace {

/// Names of columns as programs write them. A file without a line of names has a person's words there, which no message may
/// repeat.
bool is_column_name(const std::string& cell) {
  constexpr std::size_t name_bytes_max = 40;
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == ':'; };
  return !cell.empty() && cell.size() <= name_bytes_max && std::isdigit(static_cast<unsigned char>(cell[0])) == 0 &&
         std::all_of(cell.begin(), cell.end(), plain);
}

bool are_column_names(const std::vector<std::string>& cells) {
  return std::all_of(cells.begin(), cells.end(), is_column_name);
}

/// `columns are a, b`, or what is wrong with the line that should name them.
std::string told_columns(const std::vector<std::string>& there) {
  if (are_column_names(there)) {
    std::string names;
    for (const auto& name : there) names += (names.empty() ? "" : ", ") + name;
    return (there.size() == 1 ? "the only column is " : "columns are ") + names;
  }
  // One cell that holds what other programs put between cells: the likely mistake.
  if (there.size() == 1 && there[0].find_first_of(";\t|") != std::string::npos)
    return "the first line is one cell; cells are parted by commas in .csv, tabs in .tsv";
  return "the first line does not look like names of columns (letters, digits, _ - . :); does the file begin with them?";
}

tl::unexpected<error> no_column(const std::string& place, const std::string& column,
                                const std::vector<std::string>& there) {
  return fail(errc::not_found, place + ": there is no column \"" + column + "\"; " + told_columns(there) +
                                   (are_column_names(there) ? did_you_mean(column, there) : ""));
}

status check_utf8(std::string_view text, const std::string& place) {
  if (is_utf8(reinterpret_cast<const std::uint8_t*>(text.data()), text.size())) return {};
  return fail(errc::invalid, place +
                                 ": the text is not UTF-8; convert the file, for example with: "
                                 "iconv -f WINDOWS-1252 -t UTF-8");
}

/// Why a row was not taken: its encoding, before anything that only follows from it.
error refused(const error& why, std::string_view row, const std::string& place) {
  const auto utf8 = check_utf8(row, place);
  return utf8 ? why.at(place) : utf8.error();
}

// An input that the feed owns, or standard input.
struct open_input {
  std::unique_ptr<std::ifstream> file;
  std::istream* in = nullptr;
};

result<open_input> open_stream(const std::string& path) {
  if (path == "-") return open_input{nullptr, &std::cin};
  auto file = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*file) return fail(errc::not_found, path + ": cannot be read; is the path right?");
  auto* in = file.get();
  return open_input{std::move(file), in};
}

/// Reads keys of records that go: rows in which only the fields of the key mean something.
class key_reader {
 public:
  key_reader(schema_ptr of, std::vector<std::string> key)
      : of_(std::move(of)), names_(std::move(key)), fields_(column_fields(*of_)) {}

  /// Appends an object with the key's fields as one row of the whole schema.
  status append(const std::string& object, columns& into) {
    if (!reader_) SONDER_TRY(open());
    row_.clear();
    SONDER_TRY(reader_->append(object, row_));
    for (std::size_t c = 0; c < fields_.size(); ++c) {
      const auto at = std::find(names_.begin(), names_.end(), fields_[c].name);
      if (at == names_.end()) {
        into[c].append_null();
      } else if (!into[c].append_from(row_[static_cast<std::size_t>(at - names_.begin())].lend(), 0)) {
        return fail(errc::capacity, "the keys of one batch pass 2^31-1 bytes");
      }
    }
    return {};
  }

  /// A key as `consume` prints it: the one field's value, or an object of them all.
  status append_printed(const nlohmann::json& key, columns& into) {
    if (names_.size() == 1 && !key.is_object())
      return append(nlohmann::json{{names_[0], key}}.dump(), into);
    return append(key.dump(), into);
  }

 private:
  status open() {
    if (names_.empty())
      return fail(errc::invalid,
                  "a tombstone needs a key, and the topic has none; give --key FIELD or --config FILE");
    auto keys = std::make_shared<schema>();
    keys->type = avro_type::record;
    keys->name = "key";
    for (const auto& name : names_) {
      const auto* field = of_->find_field(name);
      if (field == nullptr)
        return fail(errc::not_found, "key field \"" + name + "\" is not in the schema");
      keys->fields.push_back({field->name, field->type, "", {}, sort_order::ascending, {}, {}});
    }
    row_ = columns(column_fields(*keys));
    reader_.emplace(std::move(keys));
    return {};
  }

  schema_ptr of_;
  std::vector<std::string> names_;
  std::vector<field> fields_;
  std::optional<json_row_reader> reader_;
  columns row_;
};

/// `{"key": KEY, "value": null}`, which no row of the schema can be.
std::optional<nlohmann::json> tombstone_key(const std::string& line, const schema& of) {
  const bool likely = line.find("\"key\"") != std::string::npos &&
                      line.find("\"value\"") != std::string::npos &&
                      line.find("null") != std::string::npos;
  if (!likely || (of.find_field("key") != nullptr && of.find_field("value") != nullptr))
    return std::nullopt;
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object() || object.size() != 2) return std::nullopt;
  const auto key = object.find("key");
  const auto value = object.find("value");
  if (key == object.end() || value == object.end() || !value->is_null()) return std::nullopt;
  return *key;
}

class json_feed final : public row_feed {
 public:
  json_feed(open_input input, std::string name, schema_ptr of, const options& how)
      : input_(std::move(input)),
        name_(std::move(name)),
        of_(of),
        fields_(column_fields(*of)),
        keys_(of, how.key),
        all_are_keys_(how.tombstones),
        reader_(std::move(of)) {
    reader_.ignore_unknown(how.ignore_unknown);
  }

  result<std::size_t> read(std::size_t rows_max, columns& into) override {
    tombstones_.clear();
    while (tombstones_.size() < rows_max && std::getline(*input_.in, text_)) {
      ++line_;
      if (line_ == 1 && text_.starts_with("\xEF\xBB\xBF")) text_.erase(0, 3);  // a byte-order mark
      if (text_.find_first_not_of(" \t\r") == std::string::npos) continue;
      const auto key = tombstone_key(text_, *of_);
      const auto done = key             ? keys_.append_printed(*key, into)
                        : all_are_keys_ ? keys_.append(text_, into)
                                        : reader_.append(text_, into);
      if (!done) return tl::unexpected(refused(done.error(), text_, name_ + ":" + std::to_string(line_)));
      tombstones_.push_back(key || all_are_keys_ ? 1 : 0);
    }
    return tombstones_.size();
  }
  const std::vector<field>& fields() const override { return fields_; }

 private:
  open_input input_;
  std::string name_;
  schema_ptr of_;
  std::vector<field> fields_;
  key_reader keys_;
  bool all_are_keys_;
  json_row_reader reader_;
  std::string text_;
  std::uint64_t line_ = 0;
};

// How a cell of text becomes JSON of a field's type.
enum class cell_form { text, number, boolean, json };

cell_form form_of(const schema& of) {
  switch (of.type) {
    case avro_type::boolean:
      return cell_form::boolean;
    case avro_type::int32:
    case avro_type::int64:
    case avro_type::float32:
    case avro_type::float64:
      return cell_form::number;
    case avro_type::array:
    case avro_type::map:
    case avro_type::record:
    case avro_type::union_of:
      return cell_form::json;
    default:
      return cell_form::text;
  }
}

bool reads_as_number(const std::string& cell) {
  return nlohmann::json::accept(cell) && (cell[0] == '-' || (cell[0] >= '0' && cell[0] <= '9'));
}

class csv_feed final : public row_feed {
 public:
  csv_feed(open_input input, std::string name, schema_ptr of, const options& how)
      : input_(std::move(input)),
        name_(std::move(name)),
        of_(of),
        fields_(column_fields(*of)),
        key_(how.key),
        keys_(of, how.key),
        all_are_keys_(how.tombstones),
        csv_(*input_.in, how.separator),
        reader_(std::move(of)) {}

  status start(const std::vector<std::pair<std::string, std::string>>& map) {
    std::vector<std::string> head;
    auto more = csv_.next(head);
    if (!more) return tl::unexpected(more.error().at(name_));
    if (!*more)
      return fail(errc::invalid, name_ + ": is empty; the first line must name the columns");
    for (const auto& [field_name, column] : map) {
      const auto* field = of_->find_field(field_name);
      if (field == nullptr)
        return fail(errc::not_found, "--map " + field_name + "=" + column + ": \"" +
                                         of_->full_name() + "\" has no field \"" + field_name +
                                         "\"");
      const auto at = std::find(head.begin(), head.end(), column);
      if (at == head.end()) return no_column(name_, column, head);
      bind(*field, static_cast<std::size_t>(at - head.begin()));
    }
    for (std::size_t c = 0; c < head.size(); ++c)
      if (const auto* field = of_->find_field(head[c]); field != nullptr && wanted(*field) && !is_bound(field->name)) bind(*field, c);
    if (cells_.empty())
      return fail(
          errc::invalid,
          name_ + ": no column has the name of a field; give --map FIELD=COLUMN; " + told_columns(head));
    return {};
  }

  result<std::size_t> read(std::size_t rows_max, columns& into) override {
    std::size_t rows = 0;
    tombstones_.assign(all_are_keys_ ? rows_max : 0, 1);
    for (; rows < rows_max; ++rows) {
      auto more = csv_.next(row_);
      if (!more) return tl::unexpected(more.error().at(name_));
      if (!*more) break;
      write_object();
      const auto done = all_are_keys_ ? keys_.append(object_, into) : reader_.append(object_, into);
      if (!done) return tl::unexpected(refused(done.error(), object_, name_ + ":" + std::to_string(csv_.line())));
    }
    return rows;
  }
  const std::vector<field>& fields() const override { return fields_; }

 private:
  // Of a file of keys, what else there is does not matter.
  [[nodiscard]] bool wanted(const schema_field& field) const {
    return !all_are_keys_ || std::find(key_.begin(), key_.end(), field.name) != key_.end();
  }

  struct bound_cell {
    std::string name;
    std::size_t column = 0;
    cell_form form = cell_form::text;
    bool may_be_absent = false;  ///< an empty cell means the default or null
  };

  [[nodiscard]] bool is_bound(const std::string& field) const {
    return std::any_of(cells_.begin(), cells_.end(), [&](const bound_cell& one) { return one.name == field; });
  }

  void bind(const schema_field& field, std::size_t column) {
    const auto* inner = nullable_of(*field.type);
    cells_.push_back({field.name, column, form_of(inner != nullptr ? *inner : *field.type),
                      inner != nullptr || field.default_json.has_value()});
  }

  void write_object() {
    object_ = "{";
    for (const auto& cell : cells_) {
      const auto& text = row_[cell.column];
      if (text.empty() && (cell.may_be_absent || cell.form != cell_form::text)) continue;
      if (object_.size() > 1) object_ += ',';
      append_json_string(cell.name, object_);
      object_ += ':';
      const bool as_it_is =
          cell.form == cell_form::json ||
          (cell.form == cell_form::number && reads_as_number(text)) ||
          (cell.form == cell_form::boolean && (text == "true" || text == "false"));
      if (as_it_is)
        object_ += text;
      else
        append_json_string(
            text, object_);  // a timestamp as text, or a value that the reader refuses by name
    }
    object_ += '}';
  }

  open_input input_;
  std::string name_;
  schema_ptr of_;
  std::vector<field> fields_;
  std::vector<std::string> key_;
  key_reader keys_;
  bool all_are_keys_;
  csv_reader csv_;
  json_row_reader reader_;
  std::vector<bound_cell> cells_;
  std::vector<std::string> row_;
  std::string object_;
};

class container_feed final : public row_feed {
 public:
  container_feed(container_reader reader, std::string name)
      : reader_(std::move(reader)), name_(std::move(name)) {}

  result<std::size_t> read(std::size_t rows_max, columns& into) override {
    auto rows = reader_.read(rows_max, into);
    if (!rows) return tl::unexpected(rows.error().at(name_));
    return rows;
  }
  const std::vector<field>& fields() const override { return reader_.fields(); }

 private:
  container_reader reader_;
  std::string name_;
};

class csv_texts final : public text_feed {
 public:
  csv_texts(open_input input, std::string name, char separator)
      : input_(std::move(input)), name_(std::move(name)), csv_(*input_.in, separator) {}

  status start(const std::string& column) {
    std::vector<std::string> head;
    auto more = csv_.next(head);
    if (!more) return tl::unexpected(more.error().at(name_));
    if (!*more)
      return fail(errc::invalid, name_ + ": is empty; the first line must name the columns");
    const auto at = std::find(head.begin(), head.end(), column);
    if (at == head.end()) return no_column(name_, column, head);
    column_ = static_cast<std::size_t>(at - head.begin());
    return {};
  }

  result<bool> next(std::string& text) override {
    auto more = csv_.next(row_);
    if (!more) return tl::unexpected(more.error().at(name_));
    if (!*more) return false;
    text = row_[column_];
    SONDER_TRY(check_utf8(text, name_ + ": line " + std::to_string(csv_.line())));
    return true;
  }

 private:
  open_input input_;
  std::string name_;
  csv_reader csv_;
  std::vector<std::string> row_;
  std::size_t column_ = 0;
};

class json_texts final : public text_feed {
 public:
  json_texts(open_input input, std::string name, std::string member)
      : input_(std::move(input)), name_(std::move(name)), member_(std::move(member)) {}

  result<bool> next(std::string& text) override {
    while (std::getline(*input_.in, line_text_)) {
      ++line_;
      if (line_text_.find_first_not_of(" \t\r") == std::string::npos) continue;
      const auto place = name_ + ":" + std::to_string(line_);
      SONDER_TRY(check_utf8(line_text_, place));
      const auto object = nlohmann::json::parse(line_text_, nullptr, false);
      if (!object.is_object())
        return fail(errc::invalid, place + ": is no JSON object; each line must be one");
      const auto at = object.find(member_);
      if (at == object.end() || !at->is_string())
        return fail(errc::not_found, place + ": has no text under \"" + member_ + "\"");
      text = at->get<std::string>();
      return true;
    }
    return false;
  }

 private:
  open_input input_;
  std::string name_;
  std::string member_;
  std::string line_text_;
  std::uint64_t line_ = 0;
};

class container_texts final : public text_feed {
 public:
  container_texts(container_reader reader, std::string name)
      : reader_(std::move(reader)), name_(std::move(name)), rows_(reader_.fields()) {}

  result<bool> next(std::string& text) override {
    if (at_ == rows_.length()) {
      rows_.clear();
      at_ = 0;
      auto read = reader_.read(256, rows_);
      if (!read) return tl::unexpected(read.error().at(name_));
      if (*read == 0) return false;
    }
    const auto& column = rows_[0].lend();
    text = is_null(column, at_) ? std::string_view{} : text_at(column, at_);
    ++at_;
    return true;
  }

 private:
  container_reader reader_;
  std::string name_;
  columns rows_;
  std::int64_t at_ = 0;
};

result<std::unique_ptr<text_feed>> open_container_texts(const std::string& path,
                                                        const std::string& column) {
  auto reader = container_reader::open(path);
  if (!reader) return tl::unexpected(reader.error());
  const auto of = reader->writer_schema();
  const auto* field = of->type == avro_type::record ? of->find_field(column) : nullptr;
  if (field == nullptr) {
    std::vector<std::string> names;
    for (const auto& f : of->fields) names.push_back(f.name);
    return no_column(path, column, names);
  }
  const auto* inner = nullable_of(*field->type);
  if ((inner != nullptr ? *inner : *field->type).type != avro_type::string)
    return fail(errc::invalid, path + ": field \"" + column + "\" is " + to_string(*field->type) +
                                   ", not a string");
  const std::string wanted[] = {column};
  SONDER_TRY(reader->read_as(*of, wanted));
  return std::make_unique<container_texts>(std::move(*reader), path);
}

char separator_of(const std::string& path) {
  return path.ends_with(".tsv") ? '\t' : ',';
}

result<std::unique_ptr<row_feed>> feed_over(open_input input, const std::string& name,
                                            schema_ptr of, const row_feed::options& options) {
  if (options.form == feed_form::json_lines)
    return std::make_unique<json_feed>(std::move(input), name, std::move(of), options);
  if (options.form == feed_form::container)
    return fail(errc::unsupported, name + ": an Avro container file must be a file, not a stream");
  auto feed = std::make_unique<csv_feed>(std::move(input), name, std::move(of), options);
  SONDER_TRY(feed->start(options.map));
  return feed;
}

}  // namespace

result<feed_form> form_of(const std::string& path) {
  const auto extension = std::filesystem::path(path).extension().string();
  if (path == "-" || extension == ".jsonl" || extension == ".ndjson" || extension == ".json")
    return feed_form::json_lines;
  if (extension == ".csv" || extension == ".tsv") return feed_form::csv;
  if (extension == ".avro") return feed_form::container;
  return fail(errc::invalid,
              path + ": what is in it? its name must end in .jsonl, .csv, .tsv or .avro");
}

result<std::unique_ptr<row_feed>> open_feed(const std::string& path, schema_ptr of,
                                            const row_feed::options& options) {
  if (options.form == feed_form::container && options.tombstones)
    return fail(errc::unsupported, path + ": keys to remove come as JSON lines or CSV, not in a container file");
  if (options.form == feed_form::container && path != "-") {
    auto reader = container_reader::open(path);
    if (!reader) return tl::unexpected(reader.error());
    SONDER_TRY(reader->read_as(*of));
    return std::make_unique<container_feed>(std::move(*reader), path);
  }
  auto input = open_stream(path);
  if (!input) return tl::unexpected(input.error());
  return feed_over(std::move(*input), path == "-" ? "standard input" : path, std::move(of),
                   options);
}

result<std::unique_ptr<row_feed>> feed_from(std::istream& in, const std::string& name,
                                            schema_ptr of, const row_feed::options& options) {
  return feed_over({nullptr, &in}, name, std::move(of), options);
}

result<std::unique_ptr<text_feed>> open_texts(const std::string& path, const std::string& column) {
  const auto form = form_of(path);
  if (!form) return tl::unexpected(form.error());
  if (*form == feed_form::container) return open_container_texts(path, column);
  auto input = open_stream(path);
  if (!input) return tl::unexpected(input.error());
  if (*form == feed_form::json_lines)
    return std::make_unique<json_texts>(std::move(*input), path, column);
  auto texts = std::make_unique<csv_texts>(std::move(*input), path, separator_of(path));
  SONDER_TRY(texts->start(column));
  return texts;
}

}  // namespace sonder::cli
