#include "flow/parked_rows.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace sonder {

namespace {

constexpr std::uint8_t has_key = 1;
constexpr std::uint8_t has_value = 2;

/// What has a fixed size, in front.
struct row_head {
  std::uint64_t form;
  std::int64_t offset;
  std::int64_t timestamp_ms;
  std::int64_t event_time_ms;
  std::uint64_t purposes;
  std::uint64_t flags;
};

struct attempt_head {
  std::int64_t due_ms;
  std::int64_t attempts;
};

std::string key_of(char kind, std::uint64_t number) {
  std::string key(1, kind);
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(number >> shift & 0xff));
  return key;
}

std::uint64_t number_of(bytes_view key) {
  std::uint64_t number = 0;
  for (std::size_t i = 1; i < key.size(); ++i) number = number << 8 | key[i];
  return number;
}

/// Lines of rows that stand alone have names that no subject and no key can have.
std::string name_of(std::string_view line, std::uint64_t number) {
  return line.empty() ? key_of('\0', number) : std::string(1, '\1').append(line);
}

std::string_view line_of(const kept_row& row) noexcept {
  return !row.subject.empty() ? row.subject : row.record.has_key ? as_text(row.record.key) : std::string_view();
}

}  // namespace

std::string_view line_of(const row_space& space, std::int32_t row) noexcept {
  const auto subject = space.subject[static_cast<std::size_t>(row)];
  const auto& record = space.record_of(row);
  return !subject.empty() ? subject : record.has_key ? as_text(record.key) : std::string_view();
}

std::uint64_t form_of(std::string_view port, const std::vector<field>& columns) {
  std::string text(port);
  for (const auto& of : columns) text += "\n" + of.name + " " + to_string(of.type) + " " + std::to_string(of.type.size);
  return XXH3_64bits(text.data(), text.size());
}

void write_row(const kept_row& row, std::string& to) {
  const auto& r = row.record;
  const auto flags = static_cast<std::uint64_t>((r.has_key ? has_key : 0) | (r.has_value ? has_value : 0));
  const row_head head{row.form, r.offset, r.timestamp_ms, row.event_time_ms, row.purposes, flags};
  to.append(reinterpret_cast<const char*>(&head), sizeof head);
  for (const auto part : {row.topic, row.subject, as_text(r.key), as_text(r.value), as_text(r.headers), as_text(row.columns)}) {
    const auto size = static_cast<std::uint32_t>(part.size());
    to.append(reinterpret_cast<const char*>(&size), sizeof size).append(part);
  }
}

result<kept_row> read_row(bytes_view from) {
  const auto broken = [] { return fail(errc::corrupt, "an entry of parked rows is no row"); };
  row_head head;
  if (from.size() < sizeof head) return broken();
  std::memcpy(&head, from.data(), sizeof head);
  from = from.subspan(sizeof head);
  std::array<bytes_view, 6> parts;
  for (auto& part : parts) {
    std::uint32_t size = 0;
    if (from.size() < sizeof size) return broken();
    std::memcpy(&size, from.data(), sizeof size);
    from = from.subspan(sizeof size);
    if (from.size() < size) return broken();
    part = from.first(size);
    from = from.subspan(size);
  }
  kept_row row;
  row.form = head.form;
  row.topic = as_text(parts[0]);
  row.subject = as_text(parts[1]);
  row.record = {head.offset, head.timestamp_ms, parts[2], parts[3], (head.flags & has_key) != 0, (head.flags & has_value) != 0, parts[4]};
  row.event_time_ms = head.event_time_ms;
  row.purposes = head.purposes;
  row.columns = parts[5];
  return row;
}

status parked_rows::load() {
  struct reading {
    parked_rows& self;
    std::unordered_map<std::uint64_t, attempt_head> attempts;
    bool broken = false;
  } r{*this, {}, false};
  SONDER_TRY(store_.scan(
      as_bytes("a"),
      [](void* ctx, bytes_view key, bytes_view value) {
        auto& into = *static_cast<reading*>(ctx);
        attempt_head head;
        if (value.size() != sizeof head) return into.broken = true, false;
        std::memcpy(&head, value.data(), sizeof head);
        into.attempts.emplace(number_of(key), head);
        return true;
      },
      &r));
  SONDER_TRY(store_.scan(
      as_bytes("r"),
      [](void* ctx, bytes_view key, bytes_view value) {
        auto& into = *static_cast<reading*>(ctx);
        const auto row = read_row(value);
        if (!row) return into.broken = true, false;
        const auto number = number_of(key);
        const auto known = into.attempts.find(number);
        const auto head = known == into.attempts.end() ? attempt_head{INT64_MIN, 0} : known->second;
        into.self.append(name_of(line_of(*row), number), {number, value.size(), static_cast<std::int32_t>(head.attempts), head.due_ms});
        return true;
      },
      &r));
  if (r.broken) return fail(errc::corrupt, "an entry of parked rows is no row");
  return {};
}

void parked_rows::append(std::string name, const waiting_row& row) {
  auto& to = *lines_.try_emplace(std::move(name)).first;
  to.second.name = &to.first;
  to.second.rows.push_back(row);
  follow_first(to.second);
  lines_of_[row.number] = &to.second;
  next_number_ = std::max(next_number_, row.number + 1);
  bytes_ += row.bytes;
}

void parked_rows::follow_first(line& of) {
  by_due_.erase({of.due_ms, &of});
  of.due_ms = of.rows.front().due_ms;
  by_due_.emplace(of.due_ms, &of);
}

bool parked_rows::waits(std::string_view line_name) const {
  return !line_name.empty() && !lines_.empty() && lines_.contains(name_of(line_name, 0));
}

status parked_rows::add(std::string_view line_name, std::string_view row, std::int32_t attempts, std::int64_t due_ms) {
  const auto number = next_number_;
  const auto tried = key_of('a', number);
  if (attempts > 0) {
    const attempt_head head{due_ms, attempts};
    SONDER_TRY(store_.put(as_bytes(tried), {reinterpret_cast<const std::uint8_t*>(&head), sizeof head}));
  }
  // All or nothing: whoever is told that it does not fit buries the row.
  if (auto ok = store_.put(as_bytes(key_of('r', number)), as_bytes(row)); !ok) {
    if (attempts > 0) SONDER_TRY(store_.erase(as_bytes(tried)));  // changed in place: that needs no room
    return ok;
  }
  append(name_of(line_name, number), {number, row.size(), attempts, due_ms});
  return {};
}

status parked_rows::put_off(std::uint64_t number, std::int32_t attempts, std::int64_t due_ms) {
  const attempt_head head{due_ms, attempts};
  SONDER_TRY(store_.put(as_bytes(key_of('a', number)), {reinterpret_cast<const std::uint8_t*>(&head), sizeof head}));
  auto& of = *lines_of_.at(number);
  const auto row = std::find_if(of.rows.begin(), of.rows.end(), [&](const auto& r) { return r.number == number; });
  row->attempts = attempts;
  row->due_ms = due_ms;
  follow_first(of);
  return {};
}

status parked_rows::remove(std::uint64_t number) {
  SONDER_TRY(store_.erase(as_bytes(key_of('r', number))));
  SONDER_TRY(store_.erase(as_bytes(key_of('a', number))));
  auto& of = *lines_of_.at(number);
  const auto row = std::find_if(of.rows.begin(), of.rows.end(), [&](const auto& r) { return r.number == number; });
  bytes_ -= row->bytes;
  of.rows.erase(row);
  lines_of_.erase(number);
  if (!of.rows.empty()) {
    follow_first(of);
    return {};
  }
  by_due_.erase({of.due_ms, &of});
  const auto name = *of.name;
  lines_.erase(name);
  return {};
}

void parked_rows::due(std::int64_t now_ms, std::size_t most, std::vector<place>& into) const {
  const auto take = [&](const line& one) {
    // A row that was tried behind one that waited has a back-off of its own, and so have those behind it.
    for (const auto& row : one.rows) {
      if (!is_due(row.due_ms, now_ms)) break;
      into.push_back({row.number, row.attempts});
    }
  };
  auto first_waiting = by_due_.begin();
  for (; first_waiting != by_due_.end() && first_waiting->first <= now_ms; ++first_waiting) take(*first_waiting->second);
  for (auto last = by_due_.end(); last != first_waiting && is_due((--last)->first, now_ms);) take(*last->second);
  std::sort(into.begin(), into.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  if (into.size() > most) into.resize(most);
}

status parked_rows::read(std::uint64_t number, std::string& to) {
  bytes_view value;
  auto found = store_.get(as_bytes(key_of('r', number)), &value);
  if (!found) return tl::unexpected(found.error());
  if (!*found) return fail(errc::corrupt, "a parked row is not in its store");
  to = as_text(value);
  return {};
}

}  // namespace sonder
