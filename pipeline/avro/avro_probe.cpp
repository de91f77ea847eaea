// A shared library with C functions, by which a Python program holds the codec against independent
// ones (differential_test.py). Answers are text: `ok` or `error`, a space, the rest; freed with
// `probe_free`.

#include <cstdlib>
#include <cstring>
#include <string>

#include "avro/container.h"
#include "avro/decode_plan.h"
#include "avro/encode_plan.h"
#include "avro/json.h"

namespace {

using namespace sonder;

char* answer(bool good, const std::string& text) {
  const std::string whole = (good ? "ok " : "error ") + text;
  return ::strdup(whole.c_str());
}

std::string hex(const std::uint8_t* bytes, std::size_t size) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text += digits[bytes[i] >> 4];
    text += digits[bytes[i] & 15];
  }
  return text;
}

std::vector<const ArrowArray*> lend_all(columns& of) {
  std::vector<const ArrowArray*> arrays;
  for (std::size_t i = 0; i < of.size(); ++i) arrays.push_back(&of[i].lend());
  return arrays;
}

std::string check_all(columns& of) {
  const auto arrays = lend_all(of);
  for (std::size_t i = 0; i < of.size(); ++i) {
    if (const auto good = check_array(*arrays[i], of.fields()[i], of.length()); !good)
      return good.error().message;
  }
  return "";
}

/// Columns that live as long as the array that was exported over them.
struct exported {
  columns rows;
  std::vector<const ArrowArray*> children;
  const void* no_validity[1] = {nullptr};
};

void release_exported(ArrowArray* array) {
  delete static_cast<exported*>(array->private_data);
  array->release = nullptr;
}

}  // namespace

extern "C" {

void probe_free(char* text) {
  std::free(text);
}

/// Canonical form, a newline, the fingerprint in hex, a newline, the full JSON.
char* probe_schema(const char* json) {
  const auto s = parse_schema(json);
  if (!s) return answer(false, s.error().message);
  char print[17];
  std::snprintf(print, sizeof print, "%016llx", static_cast<unsigned long long>(fingerprint(**s)));
  return answer(true, canonical_form(**s) + "\n" + print + "\n" + to_json(**s));
}

/// The record as JSON. The bytes are copied, so that a read past their end is seen by the
/// sanitizer.
char* probe_decode(const char* writer_json, const char* reader_json, const std::uint8_t* body,
                   std::size_t size) {
  const auto writer = parse_schema(writer_json);
  const auto reader = parse_schema(reader_json);
  if (!writer || !reader) return answer(false, (writer ? reader : writer).error().message);
  const auto plan = decode_plan::compile(**writer, **reader);
  if (!plan) return answer(false, plan.error().message);
  columns rows(plan->fields());
  const std::vector<std::uint8_t> copy(body, body + size);
  if (const auto e = plan->decode(copy, rows)) return answer(false, plan->describe(e));
  if (const auto wrong = check_all(rows); !wrong.empty())
    return answer(false, "our own columns: " + wrong);
  std::string text;
  append_json_row(rows.fields(), lend_all(rows), 0, text);
  return answer(true, text);
}

/// The body of a JSON row in hex.
char* probe_encode(const char* schema_json, const char* row) {
  const auto s = parse_schema(schema_json);
  if (!s) return answer(false, s.error().message);
  columns rows(column_fields(**s));
  if (const auto read = json_row_reader(*s).append(row, rows); !read)
    return answer(false, read.error().message);
  const auto plan = encode_plan::compile(**s, rows.fields());
  if (!plan) return answer(false, plan.error().message);
  row_encoder encoder(*plan);
  encoder.bind(lend_all(rows));
  buffer out;
  if (const auto e = encoder.encode(0, out)) return answer(false, plan->describe(e));
  return answer(true, hex(out.data(), out.size()));
}

/// JSON rows, one a line, as one exported struct array.
char* probe_export(const char* schema_json, const char* lines, ArrowSchema* to_schema,
                   ArrowArray* to_array) {
  const auto s = parse_schema(schema_json);
  if (!s) return answer(false, s.error().message);
  auto made = std::make_unique<exported>();
  made->rows = columns(column_fields(**s));
  json_row_reader reader(*s);
  for (std::string_view rest = lines; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    if (const auto read = reader.append(rest.substr(0, end), made->rows); !read)
      return answer(false, read.error().message);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  made->children = lend_all(made->rows);
  export_schema(column_field(**s), to_schema);
  *to_array = ArrowArray{};
  to_array->length = made->rows.length();
  to_array->n_buffers = 1;
  to_array->buffers = made->no_validity;
  to_array->n_children = static_cast<std::int64_t>(made->children.size());
  to_array->children = const_cast<ArrowArray**>(made->children.data());
  to_array->release = release_exported;
  to_array->private_data = made.release();
  return answer(true, "");
}

/// Encodes every row of a struct array that somebody else made, once as it is and once gathered; a
/// body in hex a line.
char* probe_reencode(const char* schema_json, ArrowSchema* from_schema, ArrowArray* from) {
  const auto s = parse_schema(schema_json);
  if (!s) return answer(false, s.error().message);
  const auto imported = import_schema(*from_schema);
  if (!imported) return answer(false, imported.error().message);
  // An imported enumeration knows its symbols from the data; the columns are held against the
  // schema's.
  const auto fields = column_fields(**s);
  if (imported->type.fields.size() != fields.size())
    return answer(false, "another number of columns");
  columns gathered(fields);
  std::vector<ArrowArray> parts;
  std::vector<std::int32_t> all;
  all.reserve(static_cast<std::size_t>(from->length));
  for (std::int32_t row = 0; row < from->length; ++row) all.push_back(row);
  // Children of a struct count their rows from the struct's offset.
  for (std::int64_t i = 0; i < from->n_children; ++i) {
    parts.push_back(*from->children[i]);
    parts.back().offset += from->offset;
    parts.back().length = from->length;
    if (parts.back().null_count > 0) parts.back().null_count = -1;
  }
  std::vector<const ArrowArray*> arrays;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (imported->type.fields[i].type.id != fields[i].type.id)
      return answer(false, "a column of another type");
    if (const auto good = check_array(parts[i], fields[i], from->length); !good)
      return answer(false, good.error().message);
    if (!gathered[i].append_rows(parts[i], all)) return answer(false, "too large");
    arrays.push_back(&parts[i]);
  }
  const auto plan = encode_plan::compile(**s, fields);
  if (!plan) return answer(false, plan.error().message);
  row_encoder as_is(*plan);
  row_encoder copied(*plan);
  as_is.bind(arrays);
  copied.bind(lend_all(gathered));
  std::string text;
  for (std::int64_t row = 0; row < from->length; ++row) {
    buffer one;
    buffer two;
    if (const auto e = as_is.encode(row, one)) return answer(false, plan->describe(e));
    if (const auto e = copied.encode(row, two)) return answer(false, plan->describe(e));
    if (hex(one.data(), one.size()) != hex(two.data(), two.size()))
      return answer(false, "gathered rows differ");
    text += hex(one.data(), one.size()) + "\n";
  }
  return answer(true, text);
}

/// All records of a container file, a JSON line each.
char* probe_read_container(const char* path) {
  auto reader = container_reader::open(path);
  if (!reader) return answer(false, reader.error().message);
  columns rows(reader->fields());
  std::string text;
  for (;;) {
    rows.clear();
    const auto read = reader->read(100, rows);
    if (!read) return answer(false, read.error().message);
    if (*read == 0) return answer(true, text);
    const auto arrays = lend_all(rows);
    for (std::int64_t row = 0; row < rows.length(); ++row) {
      append_json_row(rows.fields(), arrays, row, text);
      text += '\n';
    }
  }
}

/// JSON rows, one a line, into a container file.
char* probe_write_container(const char* path, const char* schema_json, const char* codec,
                            const char* lines) {
  const auto s = parse_schema(schema_json);
  if (!s) return answer(false, s.error().message);
  const auto packed = parse_container_codec(codec);
  if (!packed) return answer(false, packed.error().message);
  auto writer = container_writer::create(path, **s, *packed);
  if (!writer) return answer(false, writer.error().message);
  columns rows(column_fields(**s));
  json_row_reader reader(*s);
  for (std::string_view rest = lines; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    if (const auto read = reader.append(rest.substr(0, end), rows); !read)
      return answer(false, read.error().message);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const auto plan = encode_plan::compile(**s, rows.fields());
  if (!plan) return answer(false, plan.error().message);
  row_encoder encoder(*plan);
  encoder.bind(lend_all(rows));
  for (std::int64_t row = 0; row < rows.length(); ++row) {
    buffer out;
    if (const auto e = encoder.encode(row, out)) return answer(false, plan->describe(e));
    if (const auto done = writer->append({out.data(), out.size()}); !done)
      return answer(false, done.error().message);
  }
  if (const auto done = writer->close(); !done) return answer(false, done.error().message);
  return answer(true, "");
}

}  // extern "C"
