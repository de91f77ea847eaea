#include "cli/case_run.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include "avro/json.h"
#include "cli/place.h"
#include "cli/record_reader.h"
#include "cli/topic_shape.h"
#include "cli/topic_writer.h"
#include "flow/graph.h"
#include "flow/schema_notes.h"
#include "flow/worker.h"
#include "log/embedded/embedded_log.h"
#include "plugin/config_schema.h"

namespace sonder::cli {
namespace {

using counts_by_node = std::map<std::string, std::map<std::string, std::uint64_t>>;

/// A folder that goes when this goes.
class temporary_folder {
 public:
  static result<std::unique_ptr<temporary_folder>> make() {
    std::string name = (std::filesystem::temp_directory_path() / "sonder_case_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      return fail(errc::io, name + ": a temporary folder cannot be made");
    return std::unique_ptr<temporary_folder>(new temporary_folder(name));
  }
  ~temporary_folder() {
    std::error_code
        ignored;  // what is left in the system's temporary folder is the system's to clear
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  explicit temporary_folder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

class case_runner {
 public:
  case_runner(const flow_case& of, std::string folder) : of_(of), folder_(std::move(folder)) {}

  status open() {
    config_overrides overrides;
    overrides.set = of_.set;
    overrides.profile = of_.profile;
    overrides.data_dir = folder_ + "/data";
    auto flow = read_flow(of_.flow, overrides);
    if (!flow) return tl::unexpected(flow.error());
    flow->http_port = -1;
    SONDER_TRY(replace_secrets(*flow));
    const auto checked = check_flow(*flow, true);
    if (checked.flow == nullptr) return fail(errc::invalid, errors_of(checked.diagnostics));
    graph_ = checked.flow;
    where_.data_dir = flow->log.dir;
    where_.flow = std::move(*flow);
    embedded_options how;
    how.fsync = false;  // the folder does not outlive the case
    auto on = open_embedded_log(where_.data_dir, how);
    if (!on) return tl::unexpected(on.error());
    on_ = std::move(*on);
    auto schemas = open_log_registry(*on_);
    if (!schemas) return tl::unexpected(schemas.error());
    schemas_ = std::move(*schemas);
    return {};
  }

  status give_all() {
    for (const auto& step : of_.given) {
      if (step.topic.empty()) {
        SONDER_TRY(run());
      } else if (auto given = give(step); !given) {
        return tl::unexpected(given.error().at(of_.file + ":" + step.place));
      }
    }
    return run();
  }

  result<std::vector<std::string>> compare() {
    auto out = unbalanced_;
    for (const auto& [topic, expected] : of_.expect.records) {
      SONDER_TRY(check(topic, expected));
      const auto found = records(topic);
      if (!found) return tl::unexpected(found.error());
      append(out, compare_records(topic, expected, *found));
    }
    for (const auto& [node, expected] : of_.expect.dropped) {
      const auto name = node_named(node);
      if (!name) return tl::unexpected(name.error());
      append(out, compare_counts("dropped", node, expected, dropped_[*name]));
    }
    auto dead_expected = of_.expect.dead_letters;
    for (const auto& [node, found] : dead_) dead_expected.try_emplace(node);
    for (const auto& [node, expected] : dead_expected) {
      const auto name = node_named(node);
      if (!name) return tl::unexpected(name.error());
      append(out, compare_counts("dead-lettered", node, expected, dead_[*name]));
    }
    return out;
  }

 private:
  static void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
    to.insert(to.end(), more.begin(), more.end());
  }

  // A misspelt matcher or field is the case's own mistake, not a difference.
  status check(const std::string& name, const std::vector<std::string>& expected) const {
    const auto* topic = where_.topic(name);
    if (topic == nullptr || topic->schema.empty()) return {};
    const auto of = load_schema_file(topic->schema);
    if (!of) return tl::unexpected(of.error());
    if (expected.empty()) return {};
    const auto& places = of_.expect.record_places.at(name);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (auto good = check_expected(**of, expected[i]); !good)
        return tl::unexpected(good.error().at(of_.file + ":" + places[i] + ": topic \"" + name + "\""));
    }
    return {};
  }

  static std::string errors_of(const std::vector<diagnostic>& all) {
    std::string out;
    for (const auto& d : all)
      if (d.level == diagnostic::severity::error) out += (out.empty() ? "" : "\n") + to_string(d);
    return out;
  }

  status replace_secrets(flow_options& flow) const {
    for (auto& [name, secret] : flow.secrets) {
      secret.environment.clear();
      secret.file = folder_ + "/" + name + ".secret";
      std::ofstream file(secret.file);
      file << "a fixed secret for cases only 32+";
      if (!file) return fail(errc::io, secret.file + ": cannot be written");
    }
    return {};
  }

  status give(const case_step& step) {
    auto shape = shape_of(where_, *on_, *schemas_, step.topic, {.past = true});
    if (!shape) return tl::unexpected(shape.error());
    columns row(column_fields(*shape->of));
    json_row_reader reader(shape->of);
    SONDER_TRY(reader.append(step.json, row));
    auto writer = topic_writer::create(*on_, std::move(*shape), row.fields());
    if (!writer) return tl::unexpected(writer.error());
    SONDER_TRY((*writer)->write(row));
    return (*writer)->flush();
  }

  status run() {
    worker_options options;
    options.until_idle = true;
    const auto done = run_worker(graph_, *on_, options);
    if (!done) return tl::unexpected(done.error());
    for (const auto& port : done->ports) {
      for (const auto& [reason, count] : port.dropped) dropped_[port.node][reason] += count;
      for (const auto& [cause, count] : port.dead_lettered) dead_[port.node][cause] += count;
    }
    for (const auto& node : done->unbalanced)
      unbalanced_.push_back("\"" + node +
                            "\": in = passed + dropped + dead-lettered does not hold");
    return {};
  }

  [[nodiscard]] std::string place_of(const std::string& named) const {
    const auto at = of_.expect.places.find(named);
    return of_.file + ":" + (at == of_.expect.places.end() ? std::to_string(of_.line) : at->second);
  }

  // Cases may name a stage by its plugin.
  [[nodiscard]] result<std::string> node_named(const std::string& name) const {
    std::vector<std::string> names;
    for (const auto& stage : graph_->stages) {
      if (stage.options.name == name) return name;
      names.push_back(stage.options.name);
    }
    for (const auto& stage : graph_->stages)
      if (stage.of.id == name) return stage.options.name;
    for (const auto& topic : graph_->options.topics) {
      if (topic.name == name) return name;
      names.push_back(topic.name);
    }
    return fail(errc::not_found, place_of(name) + ": the flow has no stage \"" + name + "\"" +
                                     did_you_mean(name, names));
  }

  result<std::vector<std::string>> records(const std::string& name) {
    const auto* topic = where_.topic(name);
    if (topic == nullptr) {
      std::vector<std::string> names;
      for (const auto& t : where_.flow->topics) names.push_back(t.name);
      return fail(errc::not_found, place_of(name) + ": the flow has no topic \"" + name + "\"" + did_you_mean(name, names));
    }
    schema_ptr bare;
    if (topic->bare) {
      auto of = load_schema_file(topic->schema);
      if (!of) return tl::unexpected(of.error());
      bare = std::move(*of);
    }
    value_reader values(*schemas_, bare);
    std::vector<std::string> out;
    record_block block;
    for (std::int32_t p = 0; p < topic->partitions; ++p) {
      const auto range = on_->offsets(topic->topic, p);
      if (!range) return tl::unexpected(range.error());
      for (auto at = range->first; at < range->end; at = block.next_offset) {
        SONDER_TRY(on_->fetch(topic->topic, p, at, {}, block));
        if (block.next_offset <= at) break;
        for (const auto& record : block.records) SONDER_TRY(take(record, values, out));
      }
    }
    return out;
  }

  static status take(const log_record& record, value_reader& values,
                     std::vector<std::string>& out) {
    if (!record.has_value) return {};
    const auto row = values.read(record.value);
    if (!row) return tl::unexpected(row.error());
    std::vector<const ArrowArray*> arrays;
    for (std::size_t i = 0; i < row->values->size(); ++i)
      arrays.push_back(&(*row->values)[i].lend());
    append_json_row(*row->fields, arrays, 0, out.emplace_back());
    return {};
  }

  const flow_case& of_;
  std::string folder_;
  place where_;
  std::shared_ptr<const graph> graph_;
  std::unique_ptr<embedded_log> on_;
  std::unique_ptr<schema_registry> schemas_;
  counts_by_node dropped_;
  counts_by_node dead_;
  std::vector<std::string> unbalanced_;
};

}  // namespace

result<std::vector<std::string>> run_case(const flow_case& of) {
  const auto folder = temporary_folder::make();
  if (!folder) return tl::unexpected(folder.error());
  case_runner runner(of, (*folder)->path());
  SONDER_TRY(runner.open());
  SONDER_TRY(runner.give_all());
  return runner.compare();
}

}  // namespace sonder::cli
