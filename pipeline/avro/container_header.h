#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "record/result.h"

namespace sonder {

/// The header of an object container file.
struct container_header {
  std::string schema_json;
  std::string codec = "null";
  std::uint8_t sync[16] = {};
};

/// Reads the header at the start of a file; bounded by `container_reader::header_bytes_max`.
[[nodiscard]] result<container_header> read_container_header(std::FILE* from);

}  // namespace sonder
