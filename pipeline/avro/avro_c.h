#pragma once

#include <cstddef>
#include <cstdio>

// Apache Avro C behind functions of our own. Its headers are named `avro/schema.h` and so on as
// ours are, so that only avro_c.cpp, which is compiled without our include path, may see them.
// Nothing here calls avro_strerror: its text is shared by all threads without a lock.
namespace sonder::avro_c {

struct file_writer;

/// Whether Avro C can read the schema.
[[nodiscard]] bool accepts_schema(const char* json, std::size_t size);

/// A container file on `stream`, which it owns from now on; null if Avro C has not got the codec or
/// refuses the schema (then `stream` is closed). No record may be larger than `block_bytes`.
[[nodiscard]] file_writer* open(std::FILE* stream, const char* name, const char* json,
                                std::size_t size, const char* codec, std::size_t block_bytes);
[[nodiscard]] bool append(file_writer* to, const void* body, std::size_t size);
/// Ends the block.
[[nodiscard]] bool flush(file_writer* to);
/// Ends the file and frees `to`.
bool close(file_writer* to);

}  // namespace sonder::avro_c
