#include "avro_c.h"

#include <cstdlib>

// Last: it includes the C library's headers inside extern "C", which C++'s own must have been
// through before.
#include <avro.h>

namespace sonder::avro_c {

struct file_writer {
  avro_schema_t schema = nullptr;
  avro_file_writer_t writer = nullptr;
};

bool accepts_schema(const char* json, std::size_t size) {
  avro_schema_t schema = nullptr;
  if (avro_schema_from_json_length(json, size, &schema) != 0) return false;
  avro_schema_decref(schema);
  return true;
}

file_writer* open(std::FILE* stream, const char* name, const char* json, std::size_t size,
                  const char* codec, std::size_t block_bytes) {
  auto* made = new file_writer;
  if (avro_schema_from_json_length(json, size, &made->schema) != 0) {
    std::fclose(stream);
    delete made;
    return nullptr;
  }
  if (avro_file_writer_create_with_codec_fp(stream, name, 1, made->schema, &made->writer, codec,
                                            block_bytes) != 0) {
    // What Avro C has closed by now differs with where it failed; a stream left open is the lesser
    // evil.
    avro_schema_decref(made->schema);
    delete made;
    return nullptr;
  }
  std::fflush(stream);
  return made;
}

bool append(file_writer* to, const void* body, std::size_t size) {
  // A record of no bytes may come without an address, which Avro C refuses.
  return avro_file_writer_append_encoded(to->writer, size == 0 ? "" : body,
                                         static_cast<int64_t>(size)) == 0;
}

bool flush(file_writer* to) {
  return avro_file_writer_flush(to->writer) == 0;
}

bool close(file_writer* to) {
  const bool closed = avro_file_writer_close(to->writer) == 0;
  avro_schema_decref(to->schema);
  delete to;
  return closed;
}

}  // namespace sonder::avro_c
