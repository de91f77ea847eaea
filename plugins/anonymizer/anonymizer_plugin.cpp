#include <sodium/randombytes.h>
#include <sodium/utils.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "finder.h"
#include "generalise.h"
#include "pseudonym.h"
#include "sonder/plugin.hpp"
#include "text/utf8.h"

namespace sp = sonder::plugin;

namespace sonder::anonymizer {
namespace {

// Places in manifest.json.
enum read : std::size_t {
  read_event_id,
  read_subject_id,
  read_at,
  read_text,
  read_age,
  read_country
};
enum write : std::uint32_t {
  write_pseudonym,
  write_entry,
  write_at,
  write_text,
  write_age_band,
  write_country,
  write_spans
};
enum reason : std::uint16_t { reason_no_text, reason_text_too_long };
constexpr std::uint32_t metric_identifiers = 0;
constexpr std::string_view secret_name = "pseudonym_key";
constexpr std::int64_t rows_between_cancel_checks = 64;

constexpr auto types_count = static_cast<std::size_t>(identifier_type::count_);
using type_set = std::bitset<types_count>;

enum class place_rule : std::uint8_t { keep, region, drop };

struct settings {
  bool trace = false;
  finder_options finding;
  type_set left;
  std::int64_t time_unit_ms = 60'000;
  std::int32_t age_band_years = 10;
  place_rule place = place_rule::region;
  std::size_t text_bytes_max = std::size_t{1} << 20;
};

// The host has checked the configuration against the manifest and filled its defaults in.
settings read_settings(std::string_view json) {
  const auto config = nlohmann::json::parse(json);
  settings made;
  made.trace = config.value("trace", made.trace);
  made.finding.phone_regions = config.value("phone_regions", made.finding.phone_regions);
  const auto dates = config.value("dates", std::string("all"));
  made.finding.dates = dates == "birth"  ? date_rule::birth
                       : dates == "full" ? date_rule::full
                                         : date_rule::all;
  for (const auto& left : config.value("leave", std::vector<std::string>())) {
    for (std::size_t i = 0; i < types_count; ++i)
      made.left[i] = made.left[i] || name(static_cast<identifier_type>(i)) == left;
  }
  made.time_unit_ms = config.value("time_unit_ms", made.time_unit_ms);
  made.age_band_years = config.value("age_band_years", made.age_band_years);
  const auto place = config.value("place", std::string("region"));
  made.place = place == "keep"   ? place_rule::keep
               : place == "drop" ? place_rule::drop
                                 : place_rule::region;
  made.text_bytes_max = config.value("text_bytes_max", made.text_bytes_max);
  return made;
}

class anonymizer_module {
 public:
  static sp::result<std::unique_ptr<anonymizer_module>> create(const sp::host& host,
                                                               const sp::module_args& args) {
    try {
      return std::unique_ptr<anonymizer_module>(new anonymizer_module(host, args));
    } catch (const std::invalid_argument& wrong) {
      return sp::status::bad_config(wrong.what());
    }
  }

  const settings set;
  const finder find;
  std::optional<pseudonymiser> subjects;
  std::optional<pseudonymiser> entries;

 private:
  anonymizer_module(const sp::host& host, const sp::module_args& args)
      : set(read_settings(args.config_json)), find(set.finding) {
    if (const auto secret = host.secret(secret_name)) {
      key(*secret, args.purpose);
    } else if (host.trial()) {
      // Names of a trial lead nowhere: the secret lives and dies in these lines.
      std::array<std::uint8_t, 32> throw_away_secret;
      randombytes_buf(throw_away_secret.data(), throw_away_secret.size());
      key(throw_away_secret, args.purpose);
      sodium_memzero(throw_away_secret.data(), throw_away_secret.size());
      host.log().warning(
          "a trial: pseudonyms come from a throw-away secret and differ in every run");
    } else {
      throw std::invalid_argument(
          "secret \"pseudonym_key\" is not configured; give it by file or environment");
    }
  }

  void key(sp::bytes_view secret, std::string_view purpose) {
    try {
      subjects.emplace(secret, "subject", purpose);
      entries.emplace(secret, "event", purpose);
    } catch (const std::invalid_argument& wrong) {
      throw std::invalid_argument(std::string("secret \"pseudonym_key\": ") + wrong.what());
    }
  }
};

class anonymizer_instance {
 public:
  static sp::result<std::unique_ptr<anonymizer_instance>> create(const anonymizer_module& shared,
                                                                 const sp::host& host) {
    return std::unique_ptr<anonymizer_instance>(new anonymizer_instance(shared, host));
  }

  sp::status process(const sp::batch& in, sp::output& out) {
    const auto event_ids = in.text(read_event_id);
    const auto subject_ids = in.text(read_subject_id);
    const auto times = in.int64(read_at);
    const auto texts = in.text(read_text);
    const auto ages = in.int32(read_age);
    const auto countries = in.text(read_country);
    const auto tombstones = in.tombstones();
    start_columns();
    found_.fill(0);
    for (std::int64_t row = 0; row < in.rows(); ++row) {
      if (row % rows_between_cancel_checks == 0 && in.cancelled()) return sp::status::cancelled();
      const bool removed = !tombstones.empty() && tombstones[static_cast<std::size_t>(row)] != 0;
      const bool readable = !removed && !event_ids.is_null(row) && !subject_ids.is_null(row) &&
                            !times.is_null(row) && !texts.is_null(row);
      if (!readable || texts[row].size() > shared_.set.text_bytes_max) {
        out.dead_letter(row, readable ? reason_text_too_long : reason_no_text);
        append_nothing();
        continue;
      }
      append_names(subject_ids[row], event_ids[row]);
      times_.builder().append(coarsened(times[row], shared_.set.time_unit_ms));
      append_text(texts[row]);
      append_age(ages.is_null(row) ? -1 : ages[row]);
      append_country(countries.is_null(row) ? std::string_view() : countries[row]);
    }
    hand_over(out);
    for (std::uint32_t type = 0; type < types_count; ++type) {
      if (found_[type] > 0) metrics_.add(metric_identifiers, found_[type], type);
    }
    return {};
  }

 private:
  using span_rows =
      sp::build::list<sp::build::record<sp::build::utf8, sp::build::int32, sp::build::int32>>;

  anonymizer_instance(const anonymizer_module& shared, const sp::host& host)
      : shared_(shared), metrics_(host.metrics()) {}

  void start_columns() {
    names_.start();
    entries_.start();
    times_.start();
    texts_.start();
    ages_.start();
    countries_.start();
    spans_.start();
  }

  void hand_over(sp::output& out) {
    out.set(write_pseudonym, names_);
    out.set(write_entry, entries_);
    out.set(write_at, times_);
    out.set(write_text, texts_);
    out.set(write_age_band, ages_);
    out.set(write_country, countries_);
    if (shared_.set.trace) out.set(write_spans, spans_);
  }

  void append_nothing() {
    names_.builder().append({});
    entries_.builder().append({});
    times_.builder().append(0);
    texts_.builder().append({});
    ages_.builder().append_null();
    countries_.builder().append_null();
    if (shared_.set.trace) spans_.builder().append_null();
  }

  void append_names(std::string_view subject, std::string_view event) {
    std::array<char, pseudonymiser::name_bytes> buffer;
    names_.builder().append(shared_.subjects->name(subject, buffer));
    entries_.builder().append(shared_.entries->name(event, buffer));
  }

  void append_text(std::string_view text) {
    shared_.find.find(text, work_);
    auto& made = texts_.builder();
    std::size_t from = 0;
    for (const span& each : work_.spans) {
      const auto type = static_cast<std::size_t>(each.type);
      if (shared_.set.left[type]) continue;
      ++found_[type];
      made.put(text.substr(from, each.start - from));
      made.put(placeholder(each.type));
      from = each.end;
    }
    made.put(text.substr(from));
    made.end_row();
    if (shared_.set.trace) append_spans(text);
  }

  void append_spans(std::string_view text) {
    auto& rows = spans_.builder();
    std::size_t bytes = 0;
    std::size_t points = 0;
    for (const span& each : work_.spans) {
      points += text::code_points(text.substr(bytes, each.start - bytes));
      const std::size_t end =
          points + text::code_points(text.substr(each.start, each.end - each.start));
      rows.values().get<0>().append(name(each.type));
      rows.values().get<1>().append(static_cast<std::int32_t>(points));
      rows.values().get<2>().append(static_cast<std::int32_t>(end));
      rows.values().close();
      points = end;
      bytes = each.end;
    }
    rows.close();
  }

  void append_age(std::int32_t age) {
    std::array<char, 16> buffer;
    const std::string_view band = age_band(age, shared_.set.age_band_years, buffer);
    band.empty() ? ages_.builder().append_null() : ages_.builder().append(band);
  }

  void append_country(std::string_view country) {
    std::string_view made;
    if (shared_.set.place == place_rule::keep && !region_of(country).empty()) made = country;
    if (shared_.set.place == place_rule::region) made = region_of(country);
    made.empty() ? countries_.builder().append_null() : countries_.builder().append(made);
  }

  const anonymizer_module& shared_;
  sp::metrics metrics_;
  workspace work_;
  std::array<double, types_count> found_{};
  sp::column<sp::build::utf8> names_;
  sp::column<sp::build::utf8> entries_;
  sp::column<sp::build::int64> times_;
  sp::column<sp::build::utf8> texts_;
  sp::column<sp::build::utf8> ages_;
  sp::column<sp::build::utf8> countries_;
  sp::column<span_rows> spans_;
};

}  // namespace
}  // namespace sonder::anonymizer

SONDER_PLUGIN(sonder::anonymizer::anonymizer_module, sonder::anonymizer::anonymizer_instance)
