#pragma once

#include <cstddef>
#include <cstdint>

// Apache Avro C's generic decoder and encoder for the benchmark's event, compiled without our
// include path (see avro_c.h).
namespace sonder::bench_avro_c {

struct codec;

[[nodiscard]] codec* open(const char* schema_json, std::size_t size);
void close(codec* c);
/// Decodes into the codec's one value, reused as Avro C's documentation advises.
[[nodiscard]] bool decode(codec* c, const std::uint8_t* body, std::size_t size);
/// Encodes that value; the number of bytes, 0 for an error.
[[nodiscard]] std::size_t encode(codec* c, std::uint8_t* to, std::size_t size);
/// Copies the value field by field, by name, into a second one, and encodes that: what a program
/// does that makes a record.
[[nodiscard]] std::size_t set_and_encode(codec* c, std::uint8_t* to, std::size_t size);

}  // namespace sonder::bench_avro_c
