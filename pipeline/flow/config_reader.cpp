#include "flow/config_reader.h"

#include <algorithm>
#include <charconv>

#include "plugin/config_schema.h"

namespace sonder {
namespace {

constexpr std::size_t found_bytes_max = 40;

const std::vector<unit>& duration_units() {
  static const std::vector<unit> units = {{"ms", 1},       {"s", 1'000},     {"m", 60'000},
                                          {"min", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  return units;
}

const std::vector<unit>& size_units() {
  static const std::vector<unit> units = {{"", 1},
                                          {"B", 1},
                                          {"KB", 1'000},
                                          {"MB", 1'000'000},
                                          {"GB", 1'000'000'000},
                                          {"KiB", std::int64_t{1} << 10},
                                          {"MiB", std::int64_t{1} << 20},
                                          {"GiB", std::int64_t{1} << 30},
                                          {"TiB", std::int64_t{1} << 40}};
  return units;
}

/// The number in the largest unit that holds it whole.
std::string with_unit(std::int64_t number, const std::vector<unit>& units) {
  const unit* best = nullptr;
  for (const auto& u : units) {
    if (number % u.factor != 0 || (best != nullptr && u.factor <= best->factor)) continue;
    if (number == 0 && best != nullptr) break;
    best = &u;
  }
  return std::to_string(number / best->factor) + std::string(best->name);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    text += i == 0 ? "" : i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

}  // namespace

std::string found(const yaml_value& v) {
  switch (v.is) {
    case yaml_value::kind::null:
      return "nothing";
    case yaml_value::kind::list:
      return "a list";
    case yaml_value::kind::map:
      return "a map";
    case yaml_value::kind::scalar:
      break;
  }
  if (v.from_environment) return "what the environment holds";
  if (v.secret) return "a text";
  if (v.text.size() <= found_bytes_max) return "\"" + v.text + "\"";
  auto end = found_bytes_max;
  while (end > 0 && (static_cast<unsigned char>(v.text[end]) & 0xC0U) == 0x80U) --end;
  return "\"" + v.text.substr(0, end) + "...\"";
}

std::optional<std::int64_t> parse_with_unit(std::string_view text, const std::vector<unit>& units) {
  std::int64_t number = 0;
  const auto* const last = text.data() + text.size();
  const auto r = std::from_chars(text.data(), last, number);
  if (r.ec != std::errc{} || number < 0) return std::nullopt;
  std::string_view name(r.ptr, static_cast<std::size_t>(last - r.ptr));
  while (name.starts_with(' ')) name.remove_prefix(1);
  const auto u =
      std::find_if(units.begin(), units.end(), [&](const unit& each) { return each.name == name; });
  std::int64_t product = 0;
  if (u == units.end()) {
    if (number == 0 && name.empty()) return 0;
    return std::nullopt;
  }
  if (__builtin_mul_overflow(number, u->factor, &product)) return std::nullopt;
  return product;
}

std::optional<std::int64_t> parse_duration_ms(std::string_view text) {
  return parse_with_unit(text, duration_units());
}

std::optional<std::int64_t> parse_size_bytes(std::string_view text) {
  return parse_with_unit(text, size_units());
}

map_reader::map_reader(yaml_document& document, const yaml_value& of, const yaml_value& at,
                       std::string what)
    : document_(document), of_(of), at_(at), what_(std::move(what)) {
  if (of.is == yaml_value::kind::map || of.is == yaml_value::kind::null || of.unresolved) return;
  complain(of, what_ + " must be a map, not " + found(of));
}

std::string map_reader::member_of(const std::string& key) const {
  return "\"" + key + "\"" + (what_.empty() ? "" : " of " + what_);
}

void map_reader::wrong(const yaml_value& at, const std::string& key, const std::string& expected) {
  if (at.unresolved) return;
  complain(at, member_of(key) + " must be " + expected + ", not " + found(at));
}

const yaml_value* map_reader::take(const std::string& key) {
  known_.push_back(key);
  const auto* value = of_.find(key);
  if (value == nullptr || value->is == yaml_value::kind::null) return nullptr;
  if (where_ != nullptr) where_->insert_or_assign(key, document_.place(*value));
  return value;
}

std::optional<std::string> map_reader::scalar(const std::string& key, const std::string& expected) {
  const auto* value = take(key);
  if (value == nullptr || value->unresolved) return std::nullopt;
  if (value->is == yaml_value::kind::scalar) return value->text;
  wrong(*value, key, expected);
  return std::nullopt;
}

void map_reader::text(const std::string& key, std::string& to) {
  if (auto read = scalar(key, "a text")) to = *std::move(read);
}

void map_reader::boolean(const std::string& key, bool& to) {
  const auto read = scalar(key, "true or false");
  if (!read) return;
  if (*read != "true" && *read != "false") return wrong(*of_.find(key), key, "true or false");
  to = *read == "true";
}

void map_reader::whole(const std::string& key, std::int64_t min, std::int64_t max,
                       std::int32_t& to) {
  const auto expected = "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
  const auto read = scalar(key, expected);
  if (!read) return;
  std::int64_t number = 0;
  const auto* const last = read->data() + read->size();
  const auto r = std::from_chars(read->data(), last, number);
  if (r.ec != std::errc{} || r.ptr != last || number < min || number > max)
    return wrong(*of_.find(key), key, expected);
  to = static_cast<std::int32_t>(number);
}

void map_reader::duration(const std::string& key, std::int64_t min_ms, std::int64_t max_ms,
                          std::int64_t& to_ms) {
  const auto expected = "a duration from " + with_unit(min_ms, duration_units()) + " to " +
                        with_unit(max_ms, duration_units()) + ", such as 100ms or 2s";
  const auto read = scalar(key, expected);
  if (!read) return;
  const auto ms = parse_duration_ms(*read);
  if (!ms || *ms < min_ms || *ms > max_ms) return wrong(*of_.find(key), key, expected);
  to_ms = *ms;
}

void map_reader::size(const std::string& key, std::int64_t min, std::int64_t max,
                      std::int64_t& to) {
  const auto expected = "a size from " + with_unit(min, size_units()) + " to " +
                        with_unit(max, size_units()) + ", such as 64MiB";
  const auto read = scalar(key, expected);
  if (!read) return;
  const auto bytes = parse_size_bytes(*read);
  if (!bytes || *bytes < min || *bytes > max) return wrong(*of_.find(key), key, expected);
  to = *bytes;
}

void map_reader::one_of(const std::string& key, const std::vector<std::string>& choices,
                        std::string& to) {
  auto read = scalar(key, joined(choices));
  if (!read) return;
  if (std::find(choices.begin(), choices.end(), *read) == choices.end()) {
    const auto& at = *of_.find(key);
    complain(at, member_of(key) + " must be " + joined(choices) + ", not " + found(at) +
                     (at.from_environment ? std::string() : did_you_mean(*read, choices)));
    return;
  }
  to = *std::move(read);
}

void map_reader::texts(const std::string& key, std::vector<std::string>& to) {
  const auto* value = take(key);
  if (value == nullptr || value->unresolved) return;
  if (value->is == yaml_value::kind::scalar) {
    to = {value->text};
    return;
  }
  if (value->is != yaml_value::kind::list) return wrong(*value, key, "a list of texts");
  std::vector<std::string> read;
  for (const auto& item : value->items) {
    if (item.is != yaml_value::kind::scalar) return wrong(item, key, "a list of texts");
    if (!item.unresolved) read.push_back(item.text);
  }
  to = std::move(read);
}

void map_reader::require(const std::string& key, const std::string& why) {
  if (of_.is != yaml_value::kind::map && of_.is != yaml_value::kind::null) return;
  const auto* value = of_.find(key);
  if (value != nullptr && value->is != yaml_value::kind::null) return;
  complain(value != nullptr ? *value : at_,
           (what_.empty() ? std::string("the flow") : what_) + " needs \"" + key + "\": " + why);
}

void map_reader::finish() {
  for (const auto& m : of_.members) {
    if (std::find(known_.begin(), known_.end(), m.key) != known_.end()) continue;
    auto hint = did_you_mean(m.key, known_);
    if (hint.empty()) hint = "; expected " + joined(known_);
    complain(m.key_at, "unknown key " + member_of(m.key) + hint);
  }
}

}  // namespace sonder
