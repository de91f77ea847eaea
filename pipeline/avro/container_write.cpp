#include <cerrno>
#include <cstdio>
#include <cstring>

#include "avro/avro_c.h"
#include "avro/container.h"
#include "avro/container_header.h"
#include "avro/wire.h"

namespace sonder {

namespace {

// Avro C takes no record larger than its block buffer. We close blocks at `block_target_bytes`
// ourselves.
constexpr std::size_t record_bytes_max = std::size_t{32} << 20;
constexpr std::size_t block_target_bytes = std::size_t{64} << 10;

/// Between Avro C and the file. Avro C writes its own rendering of the schema into the header,
/// without defaults, logical types and labels; what it writes before `switch_over` is kept here,
/// and the file gets a header with the whole schema instead.
struct output {
  std::FILE* file = nullptr;
  buffer held;
  bool holding = true;
  int problem = 0;  ///< errno of the first write that failed

  ~output() {
    if (file != nullptr) std::fclose(file);
  }

  void put(const void* bytes, std::size_t size) {
    if (std::fwrite(bytes, 1, size, file) != size && problem == 0) problem = errno;
  }
};

ssize_t write_to_output(void* cookie, const char* bytes, std::size_t size) {
  auto* to = static_cast<output*>(cookie);
  if (to->holding) {
    to->held.append(bytes, size);
  } else {
    to->put(bytes, size);
  }
  return static_cast<ssize_t>(size);
}

void put_entry(std::string_view text, buffer& to) {
  to.reserve_more(varint_bytes_max);
  std::uint8_t* const at = to.data() + to.size();
  to.set_size(to.size() + static_cast<std::size_t>(
                              write_varint(at, static_cast<std::int64_t>(text.size())) - at));
  to.append(text.data(), text.size());
}

/// Writes our header with Avro C's sync marker, and lets everything later through.
status switch_over(output& to, const schema& of, container_codec codec) {
  std::FILE* held = ::fmemopen(to.held.data(), to.held.size(), "rb");
  if (held == nullptr) return fail(errc::internal, "Avro C wrote no header");
  auto header = read_container_header(held);
  std::fclose(held);
  if (!header) return tl::unexpected(header.error().at("the header that Avro C wrote"));
  constexpr std::uint8_t two_entries = 4;  // zig-zag
  buffer bytes;
  bytes.append("Obj\1", 4);
  bytes.append_value(two_entries);
  put_entry("avro.codec", bytes);
  put_entry(name(codec), bytes);
  put_entry("avro.schema", bytes);
  put_entry(to_json(of), bytes);
  bytes.append_value(std::uint8_t{0});
  bytes.append(header->sync, sizeof header->sync);
  to.put(bytes.data(), bytes.size());
  to.holding = false;
  return {};
}

}  // namespace

struct container_writer::state {
  std::string path;
  output out;
  avro_c::file_writer* writer = nullptr;
  std::size_t block_bytes = 0;

  ~state() {
    if (writer != nullptr) avro_c::close(writer);
  }

  status written() const {
    if (out.problem == 0) return {};
    return fail(errc::io, path + ": cannot be written: " + std::strerror(out.problem));
  }
};

container_writer::container_writer(std::unique_ptr<state> s) : state_(std::move(s)) {}
container_writer::container_writer(container_writer&&) noexcept = default;
container_writer& container_writer::operator=(container_writer&&) noexcept = default;
container_writer::~container_writer() = default;

result<container_writer> container_writer::create(const std::filesystem::path& file,
                                                  const schema& of, container_codec codec) {
  if (codec > container_codec::snappy) {
    return fail(errc::unsupported, "codec " + std::string(name(codec)) +
                                       " can be read and not written; use null, deflate or snappy");
  }
  auto s = std::make_unique<state>();
  s->path = file.string();
  s->out.file = std::fopen(file.c_str(), "wb");
  if (s->out.file == nullptr)
    return fail(errc::io, s->path + ": cannot be created: " + std::strerror(errno));
  cookie_io_functions_t functions{};
  functions.write = write_to_output;
  std::FILE* stream = ::fopencookie(&s->out, "wb", functions);
  if (stream == nullptr) return fail(errc::io, s->path + ": no stream: " + std::strerror(errno));
  const std::string json = canonical_form(of);
  const std::string codec_name(name(codec));
  s->writer = avro_c::open(stream, s->path.c_str(), json.data(), json.size(), codec_name.c_str(),
                           record_bytes_max);
  if (s->writer == nullptr) {
    return fail(errc::unsupported, s->path + ": Avro C takes not the schema \"" + to_string(of) +
                                       "\" with codec " + codec_name);
  }
  if (auto switched = switch_over(s->out, of, codec); !switched)
    return tl::unexpected(switched.error().at(s->path));
  if (auto good = s->written(); !good) return tl::unexpected(good.error());
  return container_writer(std::move(s));
}

status container_writer::append(bytes_view body) {
  state& s = *state_;
  if (body.size() > record_bytes_max) {
    return fail(errc::capacity,
                s.path + ": a record has more than " + std::to_string(record_bytes_max) + " bytes");
  }
  if (s.block_bytes != 0 && s.block_bytes + body.size() > record_bytes_max)
    SONDER_TRY(end_block(s));
  if (!avro_c::append(s.writer, body.data(), body.size())) {
    return fail(errc::internal,
                s.path + ": Avro C refuses a record of " + std::to_string(body.size()) + " bytes");
  }
  s.block_bytes += body.size();
  if (s.block_bytes >= block_target_bytes) SONDER_TRY(end_block(s));
  return s.written();
}

status container_writer::end_block(state& s) {
  if (!avro_c::flush(s.writer)) return fail(errc::io, s.path + ": Avro C cannot write a block");
  s.block_bytes = 0;
  return {};
}

status container_writer::close() {
  state& s = *state_;
  if (s.writer != nullptr && !avro_c::close(std::exchange(s.writer, nullptr))) {
    return fail(errc::io, s.path + ": Avro C cannot write the last block");
  }
  if (s.out.file != nullptr && std::fclose(std::exchange(s.out.file, nullptr)) != 0 &&
      s.out.problem == 0) {
    s.out.problem = errno;
  }
  return s.written();
}

status cross_check_with_avro_c(std::string_view json) {
  if (avro_c::accepts_schema(json.data(), json.size())) return {};
  return fail(errc::invalid, "Apache Avro C refuses the schema");
}

}  // namespace sonder
