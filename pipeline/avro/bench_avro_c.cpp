#include "bench_avro_c.h"

#include <cstdlib>
#include <cstring>

// Last: it includes the C library's headers inside extern "C", which C++'s own must have been
// through before.
#include <avro.h>

namespace sonder::bench_avro_c {

struct codec {
  avro_schema_t schema = nullptr;
  avro_value_iface_t* type = nullptr;
  avro_value_t value{};
  avro_value_t made{};
};

codec* open(const char* schema_json, std::size_t size) {
  auto* c = new codec;
  if (avro_schema_from_json_length(schema_json, size, &c->schema) != 0) return nullptr;
  c->type = avro_generic_class_from_schema(c->schema);
  avro_generic_value_new(c->type, &c->value);
  avro_generic_value_new(c->type, &c->made);
  return c;
}

void close(codec* c) {
  avro_value_decref(&c->value);
  avro_value_decref(&c->made);
  avro_value_iface_decref(c->type);
  avro_schema_decref(c->schema);
  delete c;
}

bool decode(codec* c, const std::uint8_t* body, std::size_t size) {
  avro_reader_t reader =
      avro_reader_memory(reinterpret_cast<const char*>(body), static_cast<int64_t>(size));
  avro_value_reset(&c->value);
  const bool good = avro_value_read(reader, &c->value) == 0;
  avro_reader_free(reader);
  return good;
}

namespace {

std::size_t write(avro_value_t* value, std::uint8_t* to, std::size_t size) {
  avro_writer_t writer =
      avro_writer_memory(reinterpret_cast<char*>(to), static_cast<int64_t>(size));
  const bool good = avro_value_write(writer, value) == 0;
  const auto written = static_cast<std::size_t>(avro_writer_tell(writer));
  avro_writer_free(writer);
  return good ? written : 0;
}

/// Sets `to` from `from` through the generic interface, records by field name.
void set(avro_value_t* to, avro_value_t* from) {
  switch (avro_value_get_type(from)) {
    case AVRO_STRING: {
      const char* text;
      std::size_t size;
      avro_value_get_string(from, &text, &size);
      avro_value_set_string_len(to, const_cast<char*>(text), size);
      return;
    }
    case AVRO_INT32: {
      int32_t number;
      avro_value_get_int(from, &number);
      avro_value_set_int(to, number);
      return;
    }
    case AVRO_INT64: {
      int64_t number;
      avro_value_get_long(from, &number);
      avro_value_set_long(to, number);
      return;
    }
    case AVRO_DOUBLE: {
      double number;
      avro_value_get_double(from, &number);
      avro_value_set_double(to, number);
      return;
    }
    case AVRO_ENUM: {
      int symbol;
      avro_value_get_enum(from, &symbol);
      avro_value_set_enum(to, symbol);
      return;
    }
    case AVRO_NULL:
      avro_value_set_null(to);
      return;
    case AVRO_RECORD: {
      std::size_t fields = 0;
      avro_value_get_size(from, &fields);
      for (std::size_t i = 0; i < fields; ++i) {
        avro_value_t source, target;
        const char* name;
        avro_value_get_by_index(from, i, &source, &name);
        avro_value_get_by_name(to, name, &target, nullptr);
        set(&target, &source);
      }
      return;
    }
    case AVRO_ARRAY:
    case AVRO_MAP: {
      std::size_t items = 0;
      avro_value_get_size(from, &items);
      for (std::size_t i = 0; i < items; ++i) {
        avro_value_t source, target;
        const char* key = nullptr;
        avro_value_get_by_index(from, i, &source, &key);
        if (avro_value_get_type(from) == AVRO_MAP) {
          avro_value_add(to, key, &target, nullptr, nullptr);
        } else {
          avro_value_append(to, &target, nullptr);
        }
        set(&target, &source);
      }
      return;
    }
    case AVRO_UNION: {
      int branch;
      avro_value_t source, target;
      avro_value_get_discriminant(from, &branch);
      avro_value_get_current_branch(from, &source);
      avro_value_set_branch(to, branch, &target);
      set(&target, &source);
      return;
    }
    default:
      std::abort();  // the event has no other types
  }
}

}  // namespace

std::size_t encode(codec* c, std::uint8_t* to, std::size_t size) {
  return write(&c->value, to, size);
}

std::size_t set_and_encode(codec* c, std::uint8_t* to, std::size_t size) {
  avro_value_reset(&c->made);
  set(&c->made, &c->value);
  return write(&c->made, to, size);
}

}  // namespace sonder::bench_avro_c
