#include "flow/config_yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <optional>
#include <sstream>
#include <unordered_map>

#include "plugin/config_schema.h"
#include "record/column.h"

namespace sonder {
namespace {

/// Thrown through yaml-cpp, which has no other way to stop a parse; caught in `read_yaml`.
struct refused {
  int line;
  int column;
  std::string message;
};

/// Builds a `yaml_value` from yaml-cpp's events, so that its bounds hold before anything is built.
class tree_builder final : public YAML::EventHandler {
 public:
  explicit tree_builder(yaml_document& into) : document_(into) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) refuse(mark, "a second document; a flow file holds one");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    finish(mark, leaf(mark), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_tag(mark, tag);
    auto scalar = leaf(mark);
    scalar.is = yaml_value::kind::scalar;
    scalar.text = value;
    scalar.plain = tag == "?";
    finish(mark, std::move(scalar), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto named = anchors_.find(anchor);
    if (named == anchors_.end()) refuse(mark, "an alias inside of what it stands for");
    count(mark, named->second.nodes);
    finish(mark, yaml_value{named->second.value}, YAML::NullAnchor, named->second.nodes);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, yaml_value::kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, yaml_value::kind::map);
  }
  void OnMapEnd() override { close(); }

  [[nodiscard]] bool empty() const noexcept { return !root_made_; }

 private:
  struct frame {
    yaml_value value;
    YAML::anchor_t anchor = YAML::NullAnchor;
    YAML::Mark mark;
    std::size_t nodes = 1;
    std::optional<yaml_value> key;
  };
  struct anchored {
    yaml_value value;
    std::size_t nodes;
  };

  [[noreturn]] static void refuse(const YAML::Mark& mark, std::string message) {
    throw refused{mark.line + 1, mark.column + 1, std::move(message)};
  }
  void count(const YAML::Mark& mark, std::size_t more) {
    nodes_ += more;
    if (nodes_ > flow_file_nodes_max) {
      refuse(mark,
             "more than " + std::to_string(flow_file_nodes_max) + " values, aliases written out");
    }
  }
  static void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") {
      refuse(mark, "tags such as \"!!str\" are not understood here; quote a text instead");
    }
  }
  static yaml_value leaf(const YAML::Mark& mark) {
    yaml_value v;
    v.line = mark.line + 1;
    v.column = mark.column + 1;
    return v;
  }
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            yaml_value::kind is) {
    check_tag(mark, tag);
    if (static_cast<int>(stack_.size()) == flow_file_depth_max) {
      refuse(mark, "nested deeper than " + std::to_string(flow_file_depth_max) + " levels");
    }
    check_key(mark, is);
    frame opened;
    opened.value = leaf(mark);
    opened.value.is = is;
    opened.anchor = anchor;
    opened.mark = mark;
    count(mark, 1);
    stack_.push_back(std::move(opened));
  }
  void check_key(const YAML::Mark& mark, yaml_value::kind is) const {
    if (stack_.empty() || stack_.back().value.is != yaml_value::kind::map || stack_.back().key)
      return;
    if (is != yaml_value::kind::scalar) refuse(mark, "a key must be a plain name");
  }
  void close() {
    auto done = std::move(stack_.back());
    stack_.pop_back();
    attach(done.mark, std::move(done.value), done.anchor, done.nodes);
  }
  void finish(const YAML::Mark& mark, yaml_value value, YAML::anchor_t anchor,
              std::size_t nodes = 1) {
    if (nodes == 1) count(mark, 1);
    check_key(mark, value.is);
    attach(mark, std::move(value), anchor, nodes);
  }
  void attach(const YAML::Mark& mark, yaml_value value, YAML::anchor_t anchor, std::size_t nodes) {
    if (anchor != YAML::NullAnchor) {
      count(mark, nodes);
      anchors_.insert_or_assign(anchor, anchored{value, nodes});
    }
    if (stack_.empty()) {
      document_.root = std::move(value);
      root_made_ = true;
      return;
    }
    auto& parent = stack_.back();
    parent.nodes += nodes;
    if (parent.value.is == yaml_value::kind::list) {
      parent.value.items.push_back(std::move(value));
    } else if (!parent.key) {
      parent.key = std::move(value);
    } else {
      add_member(parent, std::move(value));
    }
  }
  void add_member(frame& parent, yaml_value value) {
    auto key = *std::exchange(parent.key, std::nullopt);
    if (const auto* first = parent.value.find(key.text)) {
      document_.report(key, "key \"" + key.text + "\" is there twice; the first is at line " +
                                std::to_string(first->line));
      return;
    }
    auto text = key.text;
    parent.value.members.push_back({std::move(text), std::move(key), std::move(value)});
  }

  yaml_document& document_;
  std::vector<frame> stack_;
  std::unordered_map<YAML::anchor_t, anchored> anchors_;
  std::size_t nodes_ = 0;
  int documents_ = 0;
  bool root_made_ = false;
};

void set_source(yaml_value& of, int source) {
  of.source = source;
  of.line = 0;
  of.column = 0;
  for (auto& item : of.items) set_source(item, source);
  for (auto& m : of.members) {
    set_source(m.key_at, source);
    set_source(m.value, source);
  }
}

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> parts;
  std::istringstream in(path);
  for (std::string part; std::getline(in, part, '.');) parts.push_back(part);
  if (path.empty() || path.back() == '.') parts.emplace_back();
  return parts;
}

/// The list item or map member named by one part of a `--set` path; made if it is missing in a map.
/// Null where there is none.
yaml_value* step_into(yaml_value& in, const std::string& part, int source) {
  if (in.is == yaml_value::kind::list) {
    for (std::size_t i = 0; i < in.items.size(); ++i) {
      if (part == std::to_string(i)) return &in.items[i];
    }
    return nullptr;
  }
  if (in.is == yaml_value::kind::null) in.is = yaml_value::kind::map;
  if (in.is != yaml_value::kind::map) return nullptr;
  if (auto* found = in.find(part)) return found;
  yaml_value key;
  key.is = yaml_value::kind::scalar;
  key.text = part;
  key.source = source;
  yaml_value empty;
  empty.source = source;
  in.members.push_back({part, std::move(key), std::move(empty)});
  return &in.members.back().value;
}

/// What `--set stages.NAME` must not invent: a stage that is misspelt would otherwise be a new one.
std::string missing_entry(const yaml_value& root, const std::vector<std::string>& parts) {
  for (const std::string_view section : {"topics", "stages", "sinks"}) {
    if (parts.size() < 2 || parts[0] != section) continue;
    std::vector<std::string> names;
    if (const auto* entries = root.find(section)) {
      if (entries->find(parts[1]) != nullptr) return {};
      for (const auto& m : entries->members) names.push_back(m.key);
    }
    const auto what = std::string(section.substr(0, section.size() - 1));
    return "there is no " + what + " \"" + parts[1] + "\"" + did_you_mean(parts[1], names);
  }
  return {};
}

}  // namespace

yaml_value* yaml_value::find(std::string_view key) noexcept {
  for (auto& m : members) {
    if (m.key == key) return &m.value;
  }
  return nullptr;
}

const yaml_value* yaml_value::find(std::string_view key) const noexcept {
  return const_cast<yaml_value*>(this)->find(key);
}

yaml_document read_yaml(std::string_view yaml, const std::string& path) {
  yaml_document document;
  document.sources.push_back(path);
  const auto refuse = [&](int line, int column, std::string message) {
    document.diagnostics.push_back(
        {diagnostic::severity::error, {path, line, column}, std::move(message)});
  };
  if (yaml.size() > flow_file_bytes_max) {
    refuse(0, 0, "larger than " + std::to_string(flow_file_bytes_max >> 10) + " KiB");
    return document;
  }
  if (!is_utf8(reinterpret_cast<const std::uint8_t*>(yaml.data()), yaml.size())) {
    refuse(0, 0, "is not valid UTF-8");
    return document;
  }
  tree_builder builder{document};
  try {
    std::istringstream in{std::string(yaml)};
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
    if (builder.empty()) refuse(0, 0, "is empty");
  } catch (const refused& r) {
    refuse(r.line, r.column, r.message);
  } catch (const YAML::Exception& e) {
    refuse(e.mark.line + 1, e.mark.column + 1, "not YAML: " + e.msg);
  }
  return document;
}

void merge_yaml(yaml_value& base, const yaml_value& over) {
  if (base.is != yaml_value::kind::map || over.is != yaml_value::kind::map) {
    base = over;
    return;
  }
  for (const auto& m : over.members) {
    if (auto* existing = base.find(m.key)) {
      merge_yaml(*existing, m.value);
    } else {
      base.members.push_back(m);
    }
  }
}

void set_yaml(yaml_document& document, const std::string& path, const std::string& value) {
  const auto source = static_cast<int>(document.sources.size());
  document.sources.push_back("--set " + path);
  yaml_value here;
  here.source = source;
  const auto parts = split_path(path);
  if (parts.size() > static_cast<std::size_t>(flow_file_depth_max)) {
    return document.report(here,
                           "nested deeper than " + std::to_string(flow_file_depth_max) + " levels");
  }
  for (const auto& part : parts) {
    if (part.empty())
      return document.report(
          here, "expected names joined by dots, as in stages.sentiment.config.profile=fast");
  }
  if (const auto problem = missing_entry(document.root, parts); !problem.empty()) {
    return document.report(here, problem);
  }
  auto parsed = read_yaml(value, path);
  if (value.empty()) parsed = {};
  if (!parsed.diagnostics.empty()) return document.report(here, parsed.diagnostics.front().message);
  set_source(parsed.root, source);
  auto* at = &document.root;
  for (const auto& part : parts) {
    at = step_into(*at, part, source);
    if (at == nullptr)
      return document.report(
          here, "\"" + part + "\" is inside of what is no map and no list of that length");
  }
  *at = std::move(parsed.root);
}

}  // namespace sonder
