#include "plugin/strict_json.h"

#include <algorithm>
#include <set>
#include <vector>

namespace sonder {
namespace {

/// The deepest nesting of brackets outside of strings. Done ahead of the parse, so that no tree
/// grows deeper than it may.
std::size_t depth_of(std::string_view text) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

/// `line 3, column 7` of a byte offset.
std::string place_of(std::string_view text, std::size_t byte) {
  byte = std::min(byte, text.size());
  const auto before = text.substr(0, byte);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const auto start = before.rfind('\n');
  const auto column = byte - (start == std::string_view::npos ? 0 : start + 1);
  return "line " + std::to_string(line) + ", column " +
         std::to_string(std::max<std::size_t>(column, 1));
}

}  // namespace

result<ordered_json> parse_strict_json(std::string_view text, std::size_t bytes_max,
                                       std::size_t depth_max) {
  if (text.size() > bytes_max) {
    return fail(errc::capacity, "has " + std::to_string(text.size()) + " bytes, at most " +
                                    std::to_string(bytes_max) + " are read");
  }
  if (depth_of(text) > depth_max) {
    return fail(errc::capacity, "is nested deeper than " + std::to_string(depth_max) + " levels");
  }
  std::vector<std::set<std::string>> open_objects;
  bool twice = false;
  const auto watch = [&](int, ordered_json::parse_event_t event, ordered_json& parsed) {
    if (event == ordered_json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == ordered_json::parse_event_t::object_end) open_objects.pop_back();
    if (event == ordered_json::parse_event_t::key) {
      twice |= !open_objects.back().insert(parsed.get_ref<const std::string&>()).second;
    }
    return true;
  };
  try {
    auto parsed = ordered_json::parse(text, watch);
    if (twice) return fail(errc::invalid, "an object has the same property twice");
    return parsed;
  } catch (const ordered_json::parse_error& e) {
    return fail(errc::invalid, "not JSON at " + place_of(text, e.byte));
  } catch (const ordered_json::exception&) {
    return fail(errc::invalid, "has a number that does not fit");
  }
}

std::string pointer_step(std::string_view member) {
  std::string step = "/";
  for (const char c : member) {
    if (c == '~') {
      step += "~0";
    } else if (c == '/') {
      step += "~1";
    } else {
      step += c;
    }
  }
  return step;
}

}  // namespace sonder
