#include "privacy/label.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "plugin/config_schema.h"
#include "privacy/purposes.h"

namespace sonder {
namespace {

using json = nlohmann::json;

/// A label's text is short; the schema parser bounds nesting before it comes here, other callers
/// are bounded by this.
constexpr std::size_t label_bytes_max = 8192;

result<std::vector<std::string>> names_of(const json& list, std::string_view key) {
  const auto wrong = [&] {
    return fail(errc::invalid, std::string(key) + " must be a list of names");
  };
  if (!list.is_array()) return wrong();
  if (list.size() > permission::names_max) {
    return fail(errc::capacity, std::string(key) + " has more than " +
                                    std::to_string(permission::names_max) + " names");
  }
  std::vector<std::string> names;
  for (const auto& item : list) {
    if (!item.is_string()) return wrong();
    names.push_back(item.get<std::string>());
  }
  return names;
}

result<permission> purposes_of(const json& list) {
  auto names = names_of(list, "purposes");
  if (!names) return tl::unexpected(names.error());
  for (const auto& purpose : *names) SONDER_TRY(check_purpose(purpose));
  return permission::only({names->begin(), names->end()});
}

result<label> label_from_object(const json& object) {
  static const std::vector<std::string> keys = {"categories", "purposes", "recipients"};
  for (const auto& member : object.items()) {
    if (std::find(keys.begin(), keys.end(), member.key()) == keys.end()) {
      return fail(errc::invalid,
                  "unknown key \"" + member.key() + "\"" + did_you_mean(member.key(), keys));
    }
  }
  // A label that is there but silent on categories would read as harmless.
  if (!object.contains("categories")) return fail(errc::invalid, "categories are missing");
  auto names = names_of(object["categories"], "categories");
  if (!names) return tl::unexpected(names.error());
  auto categories = category_set::parse(*names);
  if (!categories) return tl::unexpected(categories.error());
  auto made = label::of(*categories);
  if (object.contains("purposes")) {
    auto purposes = purposes_of(object["purposes"]);
    if (!purposes) return tl::unexpected(purposes.error());
    made.purposes = *std::move(purposes);
  }
  if (object.contains("recipients")) {
    auto recipients = names_of(object["recipients"], "recipients");
    if (!recipients) return tl::unexpected(recipients.error());
    made.recipients = permission::only({recipients->begin(), recipients->end()});
  }
  return made;
}

}  // namespace

const std::vector<std::string>& data_category_names() {
  static const std::vector<std::string> names = {
      "direct_identifier", "quasi_identifier", "special_category", "free_text",
      "pseudonym",         "behaviour",        "preference"};
  static_assert(data_categories_count == 7);
  return names;
}

std::string_view name(data_category c) noexcept {
  return data_category_names()[static_cast<std::size_t>(c)];
}

result<category_set> category_set::parse(std::span<const std::string> names) {
  const auto& known = data_category_names();
  category_set all_of_them;
  for (const auto& one : names) {
    const auto found = std::find(known.begin(), known.end(), one);
    if (found == known.end()) {
      auto hint = did_you_mean(one, known);
      if (hint.empty()) hint = "; known are " + to_string(category_set::all());
      return fail(errc::invalid, "no data category \"" + one + "\"" + hint);
    }
    all_of_them = all_of_them | of(static_cast<data_category>(found - known.begin()));
  }
  return all_of_them;
}

std::string to_string(category_set s) {
  std::string text;
  for (std::size_t i = 0; i < data_categories_count; ++i) {
    const auto c = static_cast<data_category>(i);
    if (!s.contains(c)) continue;
    if (!text.empty()) text += ", ";
    text += name(c);
  }
  return text.empty() ? "none" : text;
}

bool permission::includes(const permission& narrower) const {
  if (!names_) return true;
  if (!narrower.names_) return false;
  return std::includes(names_->begin(), names_->end(), narrower.names_->begin(),
                       narrower.names_->end());
}

permission permission::operator&(const permission& o) const {
  if (!names_) return o;
  if (!o.names_) return *this;
  std::set<std::string> both;
  std::set_intersection(names_->begin(), names_->end(), o.names_->begin(), o.names_->end(),
                        std::inserter(both, both.end()));
  return permission{std::move(both)};
}

std::string permission::to_string() const {
  if (!names_) return "any";
  if (names_->empty()) return "none";
  std::string text;
  for (const auto& one : *names_) text += (text.empty() ? "" : ", ") + one;
  return text;
}

label join(const label& a, const label& b) {
  return {a.categories | b.categories, a.purposes & b.purposes, a.recipients & b.recipients};
}

bool at_most(const label& low, const label& high) {
  return high.categories.contains(low.categories) && low.purposes.includes(high.purposes) &&
         low.recipients.includes(high.recipients);
}

std::string to_string(const label& l) {
  return "categories: " + to_string(l.categories) + "; purposes: " + l.purposes.to_string() +
         "; recipients: " + l.recipients.to_string();
}

result<label> parse_label(std::string_view text) {
  if (text.size() > label_bytes_max) {
    return fail(errc::capacity, "longer than " + std::to_string(label_bytes_max) + " bytes");
  }
  const auto value = json::parse(text, nullptr, false);
  if (value.is_object()) return label_from_object(value);
  if (value.is_array()) return label_from_object(json{{"categories", value}});
  if (value.is_string() && value == "none") return label::open();
  return fail(errc::invalid,
              R"(must be an object with categories, a list of categories, or "none")");
}

}  // namespace sonder
