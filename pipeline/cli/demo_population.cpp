#include "cli/demo_population.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "avro/json.h"
#include "cli/demo_texts.h"

namespace sonder::cli {

// SplitMix64 (Steele, Lea and Flood 2014): enough for a demo, and a few lines that give the same
// everywhere.
std::uint64_t demo_random::next() noexcept {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

namespace {

constexpr std::int64_t day_ms = 86'400'000;

enum stream : std::uint64_t { of_subject = 1, of_entry = 2 };

// Independent numbers for each subject and entry, so that one can be made without the others.
demo_random stream_of(std::uint64_t seed, stream kind, std::uint64_t index) {
  demo_random mix(seed * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(kind));
  return demo_random(mix.next() ^ (index * 0xD1B54A32D192ED03ULL));
}

template <class Range>
auto pick(demo_random& random, const Range& from) {
  return from[random.below(from.size())];
}

std::string digits(demo_random& random, std::size_t count) {
  std::string out;
  while (out.size() < count) out.push_back(static_cast<char>('0' + random.below(10)));
  return out;
}

// The last digit that makes a card number pass Luhn's check (ISO/IEC 7812-1).
std::string card_number(demo_random& random) {
  std::string number = "4" + digits(random, 14);
  int sum = 0;
  for (std::size_t i = 0; i < number.size(); ++i) {
    int digit = number[number.size() - 1 - i] - '0';
    if (i % 2 == 0) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  number.push_back(static_cast<char>('0' + (10 - sum % 10) % 10));
  return fmt::format("{} {} {} {}", number.substr(0, 4), number.substr(4, 4), number.substr(8, 4),
                     number.substr(12, 4));
}

// A German IBAN with its check digits (ISO 13616: mod 97 of the rearranged number is 1).
std::string iban(demo_random& random) {
  const std::string account = digits(random, 18);
  int rest = 0;
  for (const char c : account + "131400") rest = (rest * 10 + (c - '0')) % 97;
  const std::string number = fmt::format("DE{:02}{}", 98 - rest, account);
  std::string grouped_number;
  for (std::size_t i = 0; i < number.size(); i += 4)
    grouped_number += (i == 0 ? "" : " ") + number.substr(i, 4);
  return grouped_number;
}

// US social security numbers have no check digit; area 219 was issued, so that the number looks
// real to a recogniser.
std::string ssn(demo_random& random) {
  return fmt::format("219-{:02}-{:04}", 1 + random.below(99), 1 + random.below(9999));
}

// Numbers that regulators set aside for fiction (Ofcom, NANPA).
std::string phone(demo_random& random) {
  if (random.chance(0.5)) return "+44 20 7946 0" + digits(random, 3);
  return "+1 201 555 01" + digits(random, 2);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

std::string birthday(demo_random& random) {
  constexpr std::array<std::string_view, 12> months = {
      "January", "February", "March",     "April",   "May",      "June",
      "July",    "August",   "September", "October", "November", "December"};
  return fmt::format("{} {} {}", 1 + random.below(28), pick(random, months),
                     1945 + random.below(60));
}

std::string fill(std::string_view slot, demo_random& random) {
  const auto name = [&] {
    return lower(pick(random, given_names())) + "." + lower(pick(random, family_names()));
  };
  if (slot == "person") {
    const auto first = std::string(pick(random, given_names()));
    return first + " " + std::string(pick(random, family_names()));
  }
  if (slot == "place") return std::string(pick(random, place_names()));
  if (slot == "email") return name() + digits(random, 2) + "@example.org";
  if (slot == "phone") return phone(random);
  if (slot == "card") return card_number(random);
  if (slot == "iban") return iban(random);
  if (slot == "ssn") return ssn(random);
  if (slot == "dob") return birthday(random);
  if (slot == "url")
    return "https://example.org/~" + lower(pick(random, given_names())) + digits(random, 3);
  if (slot == "handle") return "@" + lower(pick(random, given_names())) + "_" + digits(random, 3);
  if (slot == "ip") return fmt::format("203.0.113.{}", 1 + random.below(254));
  return std::to_string(19 + random.below(60));  // age
}

void write_text(std::string_view from, demo_random& random, demo_entry& into) {
  while (!from.empty()) {
    const auto open = from.find('{');
    into.text += from.substr(0, open);
    if (open == std::string_view::npos) return;
    const auto close = from.find('}', open);
    const auto slot = from.substr(open + 1, close - open - 1);
    auto value = fill(slot, random);
    into.text += value;
    into.planted.push_back({std::string(slot), std::move(value)});
    from.remove_prefix(close + 1);
  }
}

void add(std::string& to, std::string_view name, std::string_view value) {
  to += to.size() == 1 ? "\"" : ",\"";
  to += name;
  to += "\":";
  append_json_string(value, to);
}
void add(std::string& to, std::string_view name, std::int64_t value) {
  to += to.size() == 1 ? "\"" : ",\"";
  to += name;
  to += "\":" + std::to_string(value);
}

}  // namespace

demo_population::demo_population(demo_options options) : options_(std::move(options)) {
  options_.subjects = std::max<std::uint64_t>(options_.subjects, 1);
  options_.days = std::max<std::int64_t>(options_.days, 1);
}

std::string demo_population::subject_id(std::uint64_t s) const {
  return fmt::format("subject-{:06}", s);
}

std::string demo_population::stance(std::uint64_t s) const {
  auto random = stream_of(options_.seed, of_subject, s);
  if (random.chance(options_.consenting)) return "granted";
  constexpr std::array<std::string_view, 10> others = {
      "denied", "denied", "withdrawn", "withdrawn", "withdrawn",
      "late",   "late",   "expired",   "expired",   "never_asked"};
  return std::string(pick(random, others));
}

std::vector<demo_decision> demo_population::decisions() const {
  const auto before = options_.start_ms - day_ms;
  const auto half_way = options_.start_ms + options_.days * day_ms / 2;
  std::vector<demo_decision> out;
  for (std::uint64_t s = 0; s < options_.subjects; ++s) {
    auto random = stream_of(options_.seed, of_subject, s);
    const auto minutes = [&](std::uint64_t most) {
      return static_cast<std::int64_t>(random.below(most)) * 60'000;
    };
    const auto id = subject_id(s);
    const auto how = stance(s);
    const auto first = before - minutes(600);
    const auto later = half_way + minutes(600);
    if (how == "granted" || how == "withdrawn")
      out.push_back({id, options_.purpose, "granted", first, 0});
    if (how == "withdrawn") out.push_back({id, options_.purpose, "withdrawn", later, 0});
    if (how == "denied") out.push_back({id, options_.purpose, "denied", first, 0});
    if (how == "late") out.push_back({id, options_.purpose, "granted", later, 0});
    if (how == "expired") out.push_back({id, options_.purpose, "granted", first, later});
  }
  std::stable_sort(out.begin(), out.end(), [](const demo_decision& a, const demo_decision& b) {
    return a.at_ms < b.at_ms;
  });
  return out;
}

demo_entry demo_population::frame(std::uint64_t i) const {
  auto random = stream_of(options_.seed, of_entry, i);
  constexpr std::array<std::string_view, 5> practices = {"journal", "journal", "gratitude",
                                                         "empathy", "mindfulness"};
  constexpr std::array<std::string_view, 6> countries = {"GB", "DE", "FR", "PL", "US", "IE"};
  demo_entry out;
  out.event_id = fmt::format("{:016x}{:016x}", random.next(), random.next());
  // Some write a lot and most a little: the square of an even draw.
  const auto draw = static_cast<double>(random.next() >> 11) * 0x1.0p-53;
  const auto s =
      std::min(options_.subjects - 1,
               static_cast<std::uint64_t>(draw * draw * static_cast<double>(options_.subjects)));
  out.subject_id = subject_id(s);
  const auto span_ms = options_.days * day_ms;
  const auto entries = static_cast<std::int64_t>(std::max<std::uint64_t>(options_.entries, 1));
  out.at_ms = options_.start_ms +
              static_cast<std::int64_t>(static_cast<double>(i) * static_cast<double>(span_ms) /
                                        static_cast<double>(entries));
  out.practice = pick(random, practices);
  out.session_id = fmt::format("{:012x}", random.next() & 0xFFFFFFFFFFFF);
  out.duration_ms = static_cast<std::int32_t>(20'000 + random.below(600'000));
  auto person = stream_of(options_.seed, of_subject, s);
  static_cast<void>(person.next());
  out.country = pick(person, countries);
  out.locale = "en-" + std::string(out.country == "US" ? "US" : "GB");
  out.age = static_cast<std::int32_t>(18 + person.below(60));
  out.mood = static_cast<std::int32_t>(random.below(5)) - 2;
  return out;
}

demo_entry demo_population::entry(std::uint64_t i) const {
  auto out = frame(i);
  auto random = stream_of(options_.seed ^ 0x7E87ULL, of_entry, i);
  write_text(pick(random, journal_templates()), random, out);
  if (random.chance(0.4)) {  // entries of about 150 characters: some are two thoughts
    out.text += ' ';
    write_text(pick(random, journal_templates()), random, out);
  }
  return out;
}

demo_entry demo_population::entry_with(std::uint64_t i, std::string text, bool details) const {
  auto out = frame(i);
  out.bare = !details;
  out.text = std::move(text);
  return out;
}

std::string to_json(const demo_entry& of) {
  std::string out = "{";
  add(out, "event_id", of.event_id);
  add(out, "subject_id", of.subject_id);
  add(out, "at", of.at_ms);
  add(out, "text", of.text);
  if (of.bare) return out + "}";
  add(out, "practice", of.practice);
  add(out, "session_id", of.session_id);
  add(out, "duration_ms", std::int64_t{of.duration_ms});
  add(out, "locale", of.locale);
  add(out, "country", of.country);
  add(out, "age", std::int64_t{of.age});
  add(out, "mood", std::int64_t{of.mood});
  return out + "}";
}

std::string to_json(const demo_decision& of) {
  std::string out = "{";
  add(out, "subject_id", of.subject_id);
  add(out, "purpose", of.purpose);
  add(out, "decision", of.decision);
  add(out, "at", of.at_ms);
  if (of.expires_at_ms != 0) add(out, "expires_at", of.expires_at_ms);
  return out + "}";
}

std::string planted_json(const demo_entry& of) {
  std::string out = "{";
  add(out, "event_id", of.event_id);
  add(out, "subject_id", of.subject_id);
  out += ",\"identifiers\":[";
  for (const auto& planted : of.planted) {
    out += out.back() == '[' ? "" : ",";
    std::string one = "{";
    add(one, "type", planted.type);
    add(one, "value", planted.value);
    out += one + "}";
  }
  return out + "]}";
}

}  // namespace sonder::cli
