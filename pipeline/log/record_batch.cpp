#include "log/record_batch.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "log/record_walk.h"

namespace sonder {
namespace {

static_assert(std::endian::native == std::endian::little, "batches are written in memory order");

constexpr std::uint8_t batch_magic = 0xB5;
constexpr std::uint8_t batch_version = 1;
constexpr std::size_t base_timestamp_at = 16;
constexpr std::size_t checksum_at = 40;

constexpr std::uint8_t record_has_key = 1;
constexpr std::uint8_t record_has_value = 2;
constexpr std::uint8_t record_has_headers = 4;
constexpr std::uint8_t record_has_gap = 8;
constexpr std::uint8_t record_flags = 15;

constexpr std::size_t varint_bytes_max = 10;
// flags, gap, timestamp and three lengths
constexpr std::size_t record_overhead_max = 1 + 5 * varint_bytes_max;

std::uint8_t* put_varint(std::uint8_t* to, std::uint64_t value) noexcept {
  while (value >= 0x80) {
    *to++ = static_cast<std::uint8_t>(value | 0x80);
    value >>= 7;
  }
  *to++ = static_cast<std::uint8_t>(value);
  return to;
}

std::size_t varint_bytes(std::uint64_t value) noexcept {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

std::uint64_t zigzag(std::int64_t value) noexcept {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}

std::int64_t unzigzag(std::uint64_t value) noexcept {
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

// Timestamps come from outside: differences wrap instead of overflowing.
std::int64_t wrapping_difference(std::int64_t a, std::int64_t b) noexcept {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}
std::int64_t wrapping_sum(std::int64_t a, std::int64_t b) noexcept {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

std::uint8_t* put_bytes(std::uint8_t* to, bytes_view bytes) noexcept {
  to = put_varint(to, bytes.size());
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

struct cursor {
  const std::uint8_t* at;
  const std::uint8_t* end;

  [[nodiscard]] bool varint(std::uint64_t& into) noexcept {
    if (at < end && *at < 0x80) {
      into = *at++;
      return true;
    }
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
      const std::uint8_t byte = *at++;
      if (shift == 63 && byte > 1) return false;
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) {
        into = value;
        return true;
      }
    }
    return false;
  }

  [[nodiscard]] bool bytes(bytes_view& into) noexcept {
    std::uint64_t size = 0;
    if (!varint(size) || size > static_cast<std::uint64_t>(end - at)) return false;
    into = {at, static_cast<std::size_t>(size)};
    at += size;
    return true;
  }
};

std::uint64_t batch_checksum(const std::uint8_t* header, bytes_view body) noexcept {
  return XXH3_64bits_withSeed(header, checksum_at, XXH3_64bits(body.data(), body.size()));
}

template <class T>
T load(const std::uint8_t* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
void store(std::uint8_t* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
}

void write_header(const batch_header& header, std::uint8_t* to) noexcept {
  to[0] = batch_magic;
  to[1] = batch_version;
  to[2] = header.flags;
  to[3] = 0;
  store(to + 4, header.count);
  store(to + 8, header.covered);
  store(to + 12, header.body_bytes);
  store(to + base_timestamp_at, header.base_timestamp_ms);
  store(to + 24, header.max_timestamp_ms);
  store(to + 32, header.tombstone_deadline_ms);
  store(to + checksum_at, batch_checksum(to, {to + batch_header::bytes, header.body_bytes}));
}

tl::unexpected<error> broken(const char* what) {
  return fail(errc::corrupt, std::string("record batch: ") + what);
}

// Decodes one record's fields; offset and timestamp are relative. False where the bytes are broken.
bool read_record(cursor& in, std::uint64_t& gap, std::int64_t& timestamp_delta,
                 log_record& into) noexcept {
  if (in.at == in.end) return false;
  const std::uint8_t flags = *in.at++;
  if ((flags & ~record_flags) != 0) return false;
  gap = 0;
  if ((flags & record_has_gap) != 0 && !in.varint(gap)) return false;
  std::uint64_t delta = 0;
  if (!in.varint(delta)) return false;
  timestamp_delta = unzigzag(delta);
  into.has_key = (flags & record_has_key) != 0;
  into.has_value = (flags & record_has_value) != 0;
  into.key = {};
  into.value = {};
  into.headers = {};
  if (into.has_key && !in.bytes(into.key)) return false;
  if (into.has_value && !in.bytes(into.value)) return false;
  return (flags & record_has_headers) == 0 || in.bytes(into.headers);
}

}  // namespace

// ---- headers of a record ----

header_cursor::header_cursor(bytes_view encoded) noexcept
    : at_(encoded.data()), end_(encoded.data() + encoded.size()) {
  cursor in{at_, end_};
  if (!in.varint(left_)) left_ = 0;
  at_ = in.at;
}

bool header_cursor::next(header_view& into) noexcept {
  if (left_ == 0) return false;
  cursor in{at_, end_};
  bytes_view key;
  if (!in.bytes(key) || !in.bytes(into.value)) {
    left_ = 0;
    return false;
  }
  into.key = as_text(key);
  at_ = in.at;
  --left_;
  return true;
}

void encode_headers(std::span<const header_view> headers, buffer& to) {
  std::size_t bytes = varint_bytes_max;
  for (const auto& header : headers)
    bytes += header.key.size() + header.value.size() + 2 * varint_bytes_max;
  to.reserve_more(bytes);
  std::uint8_t* at = put_varint(to.data() + to.size(), headers.size());
  for (const auto& header : headers) {
    at = put_bytes(at, as_bytes(header.key));
    at = put_bytes(at, header.value);
  }
  to.set_size(static_cast<std::size_t>(at - to.data()));
}

void encode_headers_after(const header_view& first, bytes_view rest, buffer& to) {
  cursor in{rest.data(), rest.data() + rest.size()};
  std::uint64_t others = 0;
  if (!in.varint(others)) in.at = in.end;
  const auto behind = static_cast<std::size_t>(in.end - in.at);
  to.reserve_more(first.key.size() + first.value.size() + behind + 3 * varint_bytes_max);
  auto* const start = to.data() + to.size();
  auto* at = put_varint(start, others + 1);
  at = put_bytes(at, {reinterpret_cast<const std::uint8_t*>(first.key.data()), first.key.size()});
  at = put_bytes(at, first.value);
  if (behind > 0) std::memcpy(at, in.at, behind);
  to.set_size(to.size() + static_cast<std::size_t>(at - start) + behind);
}

bool take_first_header(bytes_view headers, header_view& first, buffer& to) {
  cursor in{headers.data(), headers.data() + headers.size()};
  std::uint64_t count = 0;
  bytes_view key;
  if (!in.varint(count) || count == 0 || !in.bytes(key) || !in.bytes(first.value)) return false;
  first.key = {reinterpret_cast<const char*>(key.data()), key.size()};
  if (count == 1) return true;
  const auto behind = static_cast<std::size_t>(in.end - in.at);
  to.reserve_more(behind + varint_bytes_max);
  auto* const start = to.data() + to.size();
  auto* const at = put_varint(start, count - 1);
  if (behind > 0) std::memcpy(at, in.at, behind);
  to.set_size(to.size() + static_cast<std::size_t>(at - start) + behind);
  return true;
}

// ---- building ----

void record_batch_builder::clear() noexcept {
  body_.clear();
  count_ = 0;
  all_have_keys_ = true;
  next_delta_ = after_last_record_ = 0;
  base_timestamp_ms_ = last_timestamp_ms_ = max_timestamp_ms_ = 0;
  largest_record_bytes_ = 0;
}

// Writes what precedes key, value and headers; answers where they go. The caller sets the size.
std::uint8_t* record_batch_builder::put_head(std::int64_t gap, std::int64_t timestamp_ms,
                                             std::uint8_t flags, std::size_t payload_max) {
  if (body_.size() == 0) {
    body_.reserve_more(batch_header::bytes);
    body_.set_size(batch_header::bytes);
  }
  body_.reserve_more(record_overhead_max + payload_max);
  const std::int64_t last_timestamp_ms = count_ == 0 ? timestamp_ms : last_timestamp_ms_;
  std::uint8_t* at = body_.data() + body_.size();
  *at++ = static_cast<std::uint8_t>(flags | (gap != 0 ? record_has_gap : 0));
  if (gap != 0) at = put_varint(at, static_cast<std::uint64_t>(gap));
  return put_varint(at, zigzag(wrapping_difference(timestamp_ms, last_timestamp_ms)));
}

void record_batch_builder::note_time(std::int64_t timestamp_ms) noexcept {
  if (count_ == 0) base_timestamp_ms_ = max_timestamp_ms_ = timestamp_ms;
  last_timestamp_ms_ = timestamp_ms;
  max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
}

void record_batch_builder::note_record(std::int64_t offset_delta, std::size_t payload,
                                       bool keyed) noexcept {
  largest_record_bytes_ = std::max(largest_record_bytes_, payload);
  all_have_keys_ = all_have_keys_ && keyed;
  next_delta_ = after_last_record_ = offset_delta + 1;
  ++count_;
}

std::uint8_t* record_batch_builder::begin_record(std::int64_t gap, std::int64_t timestamp_ms,
                                                 std::uint8_t flags, std::size_t payload_max) {
  std::uint8_t* const at = put_head(gap, timestamp_ms, flags, payload_max);
  note_time(timestamp_ms);
  return at;
}

void record_batch_builder::append(std::int64_t timestamp_ms, const bytes_view* key,
                                  const bytes_view* value, bytes_view headers) {
  append_at(next_delta_, timestamp_ms, key, value, headers);
}

void record_batch_builder::append_at(std::int64_t offset_delta, std::int64_t timestamp_ms,
                                     const bytes_view* key, const bytes_view* value,
                                     bytes_view headers) {
  assert(offset_delta >= next_delta_);
  const std::size_t payload =
      (key != nullptr ? key->size() : 0) + (value != nullptr ? value->size() : 0) + headers.size();
  const auto flags = static_cast<std::uint8_t>((key != nullptr ? record_has_key : 0) |
                                               (value != nullptr ? record_has_value : 0) |
                                               (!headers.empty() ? record_has_headers : 0));
  std::uint8_t* at = begin_record(offset_delta - after_last_record_, timestamp_ms, flags, payload);
  if (key != nullptr) at = put_bytes(at, *key);
  if (value != nullptr) at = put_bytes(at, *value);
  if (!headers.empty()) at = put_bytes(at, headers);
  body_.set_size(static_cast<std::size_t>(at - body_.data()));
  note_record(offset_delta, payload, key != nullptr);
}

// Answers where the value goes: as many bytes behind the key as the last one's length took.
std::size_t record_batch_builder::begin_made(std::int64_t timestamp_ms, const bytes_view* key,
                                             std::size_t headers_bytes) {
  const auto flags =
      static_cast<std::uint8_t>((key != nullptr ? record_has_key : 0) | record_has_value |
                                (headers_bytes != 0 ? record_has_headers : 0));
  std::uint8_t* at = put_head(next_delta_ - after_last_record_, timestamp_ms, flags,
                              (key != nullptr ? key->size() : 0) + headers_bytes);
  if (key != nullptr) at = put_bytes(at, *key);
  const auto value_at = static_cast<std::size_t>(at - body_.data()) + value_size_bytes_;
  body_.set_size(value_at);
  return value_at;
}

void record_batch_builder::end_made(std::size_t value_at, std::int64_t timestamp_ms,
                                    const bytes_view* key, bytes_view headers) {
  const std::size_t size = body_.size() - value_at;
  body_.reserve_more(2 * varint_bytes_max + headers.size());
  std::uint8_t* const size_at = body_.data() + value_at - value_size_bytes_;
  if (const std::size_t needed = varint_bytes(size); needed != value_size_bytes_) [[unlikely]] {
    std::memmove(size_at + needed, size_at + value_size_bytes_, size);
    value_size_bytes_ = needed;
  }
  std::uint8_t* at = put_varint(size_at, size) + size;
  if (!headers.empty()) at = put_bytes(at, headers);
  body_.set_size(static_cast<std::size_t>(at - body_.data()));
  note_time(timestamp_ms);
  note_record(next_delta_, (key != nullptr ? key->size() : 0) + size + headers.size(),
              key != nullptr);
}

void record_batch_builder::append_all(const record_batch_builder& other) {
  if (other.count_ != 0) {
    // Only the first record says anything relative to what came before; the others are copied as
    // they are.
    cursor in{other.body_.data() + batch_header::bytes, other.body_.data() + other.body_.size()};
    const std::uint8_t flags = *in.at++;
    std::uint64_t gap = 0;
    std::uint64_t first_delta = 0;
    const bool whole = ((flags & record_has_gap) == 0 || in.varint(gap)) && in.varint(first_delta);
    assert(whole && first_delta == 0);
    static_cast<void>(whole);
    const auto rest = static_cast<std::size_t>(in.end - in.at);
    std::uint8_t* at = begin_record(
        static_cast<std::int64_t>(gap) + next_delta_ - after_last_record_, other.base_timestamp_ms_,
        static_cast<std::uint8_t>(flags & ~record_has_gap), rest);
    std::memcpy(at, in.at, rest);
    body_.set_size(static_cast<std::size_t>(at - body_.data()) + rest);
    last_timestamp_ms_ = other.last_timestamp_ms_;
    max_timestamp_ms_ = std::max(max_timestamp_ms_, other.max_timestamp_ms_);
    largest_record_bytes_ = std::max(largest_record_bytes_, other.largest_record_bytes_);
    all_have_keys_ = all_have_keys_ && other.all_have_keys_;
    count_ += other.count_;
    after_last_record_ = next_delta_ + other.after_last_record_;
  }
  next_delta_ += other.next_delta_;
}

void record_batch_builder::cover_to(std::int64_t offset_delta) noexcept {
  next_delta_ = std::max(next_delta_, offset_delta);
}

bytes_view record_batch_builder::finish(std::optional<std::int64_t> append_time_ms,
                                        std::int64_t tombstone_deadline_ms) {
  if (body_.size() == 0) {
    body_.reserve_more(batch_header::bytes);
    body_.set_size(batch_header::bytes);
  }
  batch_header header;
  header.flags = append_time_ms ? batch_header::flag_append_time : std::uint8_t{0};
  header.count = static_cast<std::uint32_t>(count_);
  header.covered = static_cast<std::uint32_t>(next_delta_);
  header.body_bytes = static_cast<std::uint32_t>(body_.size() - batch_header::bytes);
  header.base_timestamp_ms = append_time_ms.value_or(base_timestamp_ms_);
  header.max_timestamp_ms = append_time_ms.value_or(max_timestamp_ms_);
  header.tombstone_deadline_ms = tombstone_deadline_ms;
  write_header(header, body_.data());
  return {body_.data(), body_.size()};
}

result<record_batch_builder> record_batch_builder::adopt(bytes_view batch) {
  record_block block;
  SONDER_TRY(read_batch(batch, 0, 0, block));
  record_batch_builder made;
  for (const auto& record : block.records) {
    made.append_at(record.offset, record.timestamp_ms, record.has_key ? &record.key : nullptr,
                   record.has_value ? &record.value : nullptr, record.headers);
  }
  made.cover_to(block.next_offset);
  return made;
}

record_walk::record_walk(bytes_view finished) noexcept
    : at_(finished.data() + batch_header::bytes),
      end_(finished.data() + finished.size()),
      timestamp_ms_(load<std::int64_t>(finished.data() + base_timestamp_at)) {
  assert(finished.size() >= batch_header::bytes);
}

bool record_walk::next(log_record& into) noexcept {
  cursor in{at_, end_};
  std::uint64_t gap = 0;
  std::int64_t timestamp_delta = 0;
  if (!read_record(in, gap, timestamp_delta, into)) return false;
  timestamp_ms_ = wrapping_sum(timestamp_ms_, timestamp_delta);
  next_offset_ += static_cast<std::int64_t>(gap);
  into.timestamp_ms = timestamp_ms_;
  into.offset = next_offset_++;
  at_ = in.at;
  return true;
}

// ---- reading ----

void seal_batch(std::span<std::uint8_t> batch) noexcept {
  batch[0] = batch_magic;
  batch[1] = batch_version;
  batch[2] &= batch_header::flag_append_time;
  batch[3] = 0;
  store(batch.data() + 12, static_cast<std::uint32_t>(batch.size() - batch_header::bytes));
  store(batch.data() + checksum_at,
        batch_checksum(batch.data(), batch.subspan(batch_header::bytes)));
}

result<batch_header> read_batch_header(bytes_view batch) {
  if (batch.size() < batch_header::bytes) return broken("shorter than its header");
  const std::uint8_t* at = batch.data();
  if (at[0] != batch_magic) return broken("does not start with its magic byte");
  if (at[1] != batch_version) {
    return fail(errc::unsupported, "record batch: version " + std::to_string(at[1]) +
                                       " is newer than this program, which knows " +
                                       std::to_string(batch_version));
  }
  if ((at[2] & ~batch_header::flag_append_time) != 0 || at[3] != 0)
    return broken("has unknown flags");
  batch_header header;
  header.flags = at[2];
  header.count = load<std::uint32_t>(at + 4);
  header.covered = load<std::uint32_t>(at + 8);
  header.body_bytes = load<std::uint32_t>(at + 12);
  header.base_timestamp_ms = load<std::int64_t>(at + base_timestamp_at);
  header.max_timestamp_ms = load<std::int64_t>(at + 24);
  header.tombstone_deadline_ms = load<std::int64_t>(at + 32);
  header.checksum = load<std::uint64_t>(at + checksum_at);
  if (header.body_bytes != batch.size() - batch_header::bytes)
    return broken("has another length than its header says");
  // A record has at least flags and a timestamp.
  if (header.count > header.covered || header.count > header.body_bytes / 2)
    return broken("counts more than it holds");
  return header;
}

status read_batch(bytes_view batch, std::int64_t base_offset, std::int64_t from, record_block& into,
                  const read_limits& limits) {
  const auto read = read_batch_header(batch);
  if (!read) return tl::unexpected<error>(read.error());
  const batch_header& header = *read;
  const bytes_view body = batch.subspan(batch_header::bytes);
  if (batch_checksum(batch.data(), body) != header.checksum)
    return broken("its checksum does not match");

  const bool append_time = (header.flags & batch_header::flag_append_time) != 0;
  const std::size_t kept = into.records.size();
  into.records.reserve(kept + std::min<std::size_t>(header.count, limits.records_max));
  const auto refuse = [&](const char* what) -> status {
    into.records.resize(kept);
    return broken(what);
  };
  cursor in{body.data(), body.data() + body.size()};
  std::int64_t timestamp_ms = header.base_timestamp_ms;
  std::int64_t max_timestamp_ms = header.count == 0 ? header.max_timestamp_ms : INT64_MIN;
  std::uint64_t delta = 0;
  std::size_t bytes_taken = 0;
  log_record record;
  for (std::uint32_t i = 0; i < header.count; ++i) {
    const std::uint8_t* const start = in.at;
    std::uint64_t gap = 0;
    std::int64_t timestamp_delta = 0;
    if (!read_record(in, gap, timestamp_delta, record)) return refuse("a record is broken");
    if (gap >= header.covered || delta + gap >= header.covered)
      return refuse("a record is beyond its range");
    delta += gap;
    timestamp_ms = wrapping_sum(timestamp_ms, timestamp_delta);
    max_timestamp_ms = std::max(max_timestamp_ms, timestamp_ms);
    record.offset = base_offset + static_cast<std::int64_t>(delta);
    record.timestamp_ms = append_time ? header.base_timestamp_ms : timestamp_ms;
    ++delta;
    if (record.offset < from) continue;
    const std::size_t taken = into.records.size() - kept;
    const auto size = static_cast<std::size_t>(in.at - start);
    if (taken != 0 && (taken >= limits.records_max || bytes_taken + size > limits.bytes_max)) {
      into.next_offset = record.offset;
      return {};
    }
    bytes_taken += size;
    into.records.push_back(record);
  }
  if (in.at != in.end) return refuse("bytes follow its last record");
  if (!append_time && max_timestamp_ms != header.max_timestamp_ms)
    return refuse("its greatest timestamp is wrong");
  into.next_offset = base_offset + header.covered;
  return {};
}

}  // namespace sonder
