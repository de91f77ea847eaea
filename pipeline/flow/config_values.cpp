#include <charconv>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "flow/config_yaml.h"

namespace sonder {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t scalar_bytes_max = std::size_t{64} << 10;  ///< after substitution

bool is_name_start(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}
bool is_name(std::string_view s) {
  if (s.empty() || !is_name_start(s[0])) return false;
  for (const char c : s) {
    if (!is_name_start(c) && !(c >= '0' && c <= '9')) return false;
  }
  return true;
}

/// Replaces all references in one scalar, or says what is wrong with them.
class substitution {
 public:
  substitution(yaml_document& document, yaml_value& scalar, bool strict)
      : document_(document), scalar_(scalar), strict_(strict) {}

  void apply() {
    std::string_view rest = scalar_.text;
    if (rest.find('$') == std::string_view::npos) return;
    // What is too long already is not made longer: a short text may name a long value many times.
    while (!rest.empty() && !scalar_.unresolved && out_.size() <= scalar_bytes_max) rest = take(rest);
    if (out_.size() > scalar_bytes_max) {
      complain("longer than " + std::to_string(scalar_bytes_max >> 10) +
               " KiB once the environment is put in");
    }
    if (!scalar_.unresolved) scalar_.text = std::move(out_);
  }

 private:
  std::string_view take(std::string_view rest) {
    const auto dollar = rest.find('$');
    out_ += rest.substr(0, dollar);
    if (dollar == std::string_view::npos) return {};
    rest.remove_prefix(dollar);
    if (rest.starts_with("$$")) {
      out_ += '$';
      return rest.substr(2);
    }
    if (!rest.starts_with("${")) {
      out_ += '$';
      return rest.substr(1);
    }
    const auto end = rest.find('}');
    if (end == std::string_view::npos) {
      complain("\"${\" without \"}\"; write \"$$\" for a dollar sign");
      return {};
    }
    put(rest.substr(2, end - 2));
    return rest.substr(end + 1);
  }
  void put(std::string_view reference) {
    const auto colon = reference.find(":-");
    const std::string name(reference.substr(0, colon));
    if (!is_name(name)) {
      complain("expected ${NAME} or ${NAME:-default}");
      return;
    }
    if (const auto* value = std::getenv(name.c_str()); value != nullptr && value[0] != '\0') {
      out_ += value;
      scalar_.from_environment = true;
    } else if (colon != std::string_view::npos) {
      out_ += reference.substr(colon + 2);
    } else if (value != nullptr) {
      scalar_.from_environment = true;
    } else {
      scalar_.unresolved = true;
      if (strict_) {
        document_.report(scalar_, "environment variable \"" + name +
                                      "\" is not set; set it, or give a default as in ${" + name +
                                      ":-...}");
      }
    }
  }
  void complain(std::string message) {
    scalar_.unresolved = true;
    document_.report(scalar_, std::move(message));
  }

  yaml_document& document_;
  yaml_value& scalar_;
  bool strict_;
  std::string out_;
};

/// A plain scalar as YAML 1.2's core schema types it; numbers that JSON cannot hold stay text.
json plain_to_json(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL")
    return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const char* const first = text.data() + (text[0] == '+' ? 1 : 0);
  const char* const last = text.data() + text.size();
  std::int64_t whole = 0;
  if (const auto r = std::from_chars(first, last, whole);
      r.ec == std::errc{} && r.ptr == last && first != last)
    return whole;
  // from_chars would take "inf" and "nan", which the core schema writes otherwise and JSON has not.
  if (text.find_first_not_of("+-.0123456789eE") != std::string::npos) return text;
  double real = 0;
  if (const auto r = std::from_chars(first, last, real);
      r.ec == std::errc{} && r.ptr == last && std::isfinite(real))
    return real;
  return text;
}

std::string pointer_part(const std::string& key) {
  std::string out = "/";
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

json to_json_value(const yaml_document& document, const yaml_value& of, const std::string& pointer,
                   std::map<std::string, position>& where) {
  where.emplace(pointer, document.place(of));
  switch (of.is) {
    case yaml_value::kind::null:
      return nullptr;
    case yaml_value::kind::scalar:
      return of.plain ? plain_to_json(of.text) : json(of.text);
    case yaml_value::kind::list: {
      auto list = json::array();
      for (std::size_t i = 0; i < of.items.size(); ++i) {
        list.push_back(
            to_json_value(document, of.items[i], pointer + "/" + std::to_string(i), where));
      }
      return list;
    }
    case yaml_value::kind::map:
      break;
  }
  auto object = json::object();
  for (const auto& m : of.members) {
    object[m.key] = to_json_value(document, m.value, pointer + pointer_part(m.key), where);
  }
  return object;
}

}  // namespace

void substitute_environment(yaml_document& document, yaml_value& in, bool strict) {
  if (in.is == yaml_value::kind::scalar) substitution{document, in, strict}.apply();
  for (auto& item : in.items) substitute_environment(document, item, strict);
  for (auto& m : in.members) substitute_environment(document, m.value, strict);
}

std::string yaml_to_json(const yaml_document& document, const yaml_value& of,
                         std::map<std::string, position>& where) {
  // An environment variable need not be UTF-8, which JSON is.
  return to_json_value(document, of, "", where)
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace sonder
