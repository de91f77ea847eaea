#include "flow/flow_rig.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "avro/decode_plan.h"
#include "avro/encode_plan.h"
#include "avro/framing.h"
#include "avro/json.h"
#include "flow/schema_notes.h"
#include "observe/log.h"

namespace sonder {

namespace {

template <class T>
T must(result<T> r) {
  if (!r) throw std::runtime_error(r.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

/// Names the folder of the outermost rig. The process of a death test ends within its rig, and has its folder below that of its parent's
/// rig, which is removed.
constexpr auto outer_folder_variable = "SONDER_FLOW_RIG_FOLDER";

std::string build_folder() {
  // Tests and benchmarks lie one folder below it.
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path().string();
}

std::string replace_all(std::string text, const std::string& what, const std::string& by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) text.replace(at, what.size(), by);
  return text;
}

}  // namespace

std::string event(const std::string& id, const std::string& subject, std::int64_t at, const std::string& text) {
  return R"({"event_id":")" + id + R"(","subject_id":")" + subject + R"(","at":)" + std::to_string(at) + R"(,"text":")" + text + "\"}";
}

std::string decision(const std::string& subject, const std::string& what, std::int64_t at, const std::string& purpose) {
  return R"({"subject_id":")" + subject + R"(","purpose":")" + purpose + R"(","decision":")" + what + R"(","at":)" +
         std::to_string(at) + "}";
}

std::string shipped_schemas() {
  const char* root = std::getenv("SONDER_SOURCE_DIR");
  return std::string(root == nullptr ? "." : root) + "/schemas";
}

flow_rig::flow_rig() : outermost_(std::getenv(outer_folder_variable) == nullptr) {
  const auto below = outermost_ ? std::filesystem::temp_directory_path() : std::filesystem::path(std::getenv(outer_folder_variable));
  auto pattern = (below / "sonder-flow-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  folder_ = pattern;
  if (outermost_) setenv(outer_folder_variable, folder_.c_str(), 1);
  options_.until_idle = true;
#ifdef __SANITIZE_THREAD__
  options_.plain_threads = true;
#endif
  reopen();
}

flow_rig::~flow_rig() {
  log_.reset();
  if (outermost_) unsetenv(outer_folder_variable);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void flow_rig::reopen(embedded_options options) {
  log_.reset();
  options.fsync = false;
  options.maintenance_interval = std::chrono::milliseconds(0);
  log_ = must(open_embedded_log(folder_ / "data", std::move(options)));
}

void flow_rig::file(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }

void flow_rig::flow(const std::string& yaml) {
  const auto text = replace_all(yaml, "${DIR}", folder_.string());
  file("flow.yaml", text);
  findings_.clear();
  graph_.reset();
  auto parsed = parse_flow((folder_ / "flow.yaml").string(), {});
  for (const auto& d : parsed.diagnostics) findings_ += to_string(d) + "\n";
  if (parsed.options) {
    parsed.options->plugin_dirs.push_back(build_folder() + "/plugins");
    parsed.options->plugin_dirs.push_back(build_folder() + "/testing_plugins");
    auto checked = check_flow(*parsed.options, true);
    for (const auto& d : checked.diagnostics) findings_ += to_string(d) + "\n";
    graph_ = checked.flow;
  }
  findings_ = replace_all(findings_, folder_.string() + "/", "");
}

const graph& flow_rig::checked() const {
  if (graph_ == nullptr) throw std::runtime_error("the flow has errors:\n" + findings_);
  return *graph_;
}

const topic_options& flow_rig::topic(const std::string& name) const {
  for (const auto& t : checked().options.topics) {
    if (t.name == name) return t;
  }
  throw std::runtime_error("no topic " + name);
}

void flow_rig::ensure_topics() {
  for (const auto& t : graph_->options.topics) {
    must(log_->create_topic(as_topic_config(t)));
  }
}

void flow_rig::give(const std::string& name, const std::vector<std::string>& json_rows) {
  const auto& of = topic(name);
  ensure_topics();
  auto schemas = must(open_log_registry(*log_));
  const auto value_schema = must(load_schema_file(of.schema));
  const auto id = must(schemas->register_schema(of.topic + "-value", *value_schema));
  const auto fields = column_fields(*value_schema);
  columns rows{fields};
  json_row_reader reader(value_schema);
  for (const auto& row : json_rows) must(reader.append(row, rows));
  const auto plan = must(encode_plan::compile(*value_schema, fields));
  row_encoder encoder(plan);
  std::vector<const ArrowArray*> arrays;
  for (std::size_t i = 0; i < rows.size(); ++i) arrays.push_back(&rows[i].lend());
  encoder.bind(arrays);
  const auto place = [&](const std::string& field_name) { return rows.find(field_name); };
  for (std::int64_t r = 0; r < rows.length(); ++r) {
    buffer value;
    append_frame(id, value);
    if (encoder.encode(r, value)) throw std::runtime_error("a row of the test cannot be encoded");
    std::string key;
    for (const auto& k : of.key) key += (key.empty() ? "" : "|") + std::string(text_at(*arrays[place(k)], r));
    const auto partition =
        of.rekey || of.role == topic_role::global ? murmur2_partition(as_bytes(key), of.partitions)
        : of.subject.empty() ? 0 : murmur2_partition(bytes_at(*arrays[place(of.subject)], r), of.partitions);
    const auto at = of.event_time.empty() ? 1'000 : fixed_values<std::int64_t>(*arrays[place(of.event_time)])[r];
    record_batch_builder batch;
    const bytes_view value_view{value.data(), value.size()};
    const auto key_view = as_bytes(key);
    batch.append(at, key.empty() ? nullptr : &key_view, &value_view, {});
    const produced_batch produced{of.topic, partition, &batch};
    must(log_->append({&produced, 1}));
  }
}

void flow_rig::give_raw(const std::string& name, std::int32_t partition, const std::string& key, const std::string& value,
                        std::int64_t timestamp_ms) {
  const auto& of = topic(name);
  ensure_topics();
  record_batch_builder batch;
  const auto key_view = as_bytes(key);
  const auto value_view = as_bytes(value);
  batch.append(timestamp_ms, key.empty() ? nullptr : &key_view, &value_view, {});
  const produced_batch produced{of.topic, partition, &batch};
  must(log_->append({&produced, 1}));
}

void flow_rig::give_tombstone(const std::string& name, std::int32_t partition, const std::string& key) {
  const auto& of = topic(name);
  ensure_topics();
  record_batch_builder batch;
  const auto key_view = as_bytes(key);
  batch.append(1'000, &key_view, nullptr, {});
  const produced_batch produced{of.topic, partition, &batch};
  must(log_->append({&produced, 1}));
}

result<run_summary> flow_rig::try_run() {
  return try_run_on(*log_);
}

result<run_summary> flow_rig::try_run_on(log& through) {
  (void)checked();
  return run_worker(graph_, through, options_);
}

std::string flow_rig::lines_of(const std::function<void()>& act) {
  log_options how;
  how.form = log_form::json;
  how.file = (folder_ / "lines").string();
  std::filesystem::remove(how.file);
  auto lines = must(logger::open(how));
  options_.lines = lines.get();
  act();
  options_.lines = nullptr;
  lines.reset();
  std::ifstream in(how.file);
  return {std::istreambuf_iterator<char>(in), {}};
}

run_summary flow_rig::run() {
  auto summary = must(try_run());
  for (const auto& node : summary.unbalanced) throw std::runtime_error("counts do not balance at " + node);
  return summary;
}

std::vector<std::string> flow_rig::dead_letters() {
  std::vector<std::string> found;
  for (const auto& json : records("dead_letter")) {
    const auto cause = json.substr(json.find("\"cause\":") + 9);
    const auto stage = json.substr(json.find("\"stage\":") + 9);
    found.push_back(stage.substr(0, stage.find('"')) + ":" + cause.substr(0, cause.find('"')));
  }
  return found;
}

std::vector<log_record> flow_rig::raw(const std::string& name, std::int32_t partition) {
  std::vector<log_record> all;
  std::int64_t from = 0;
  for (;;) {
    read_.push_back(std::make_unique<record_block>());
    must(log_->fetch(topic(name).topic, partition, from, {}, *read_.back()));
    if (read_.back()->records.empty()) return all;
    all.insert(all.end(), read_.back()->records.begin(), read_.back()->records.end());
    from = read_.back()->next_offset;
  }
}

std::vector<std::string> flow_rig::records(const std::string& name) {
  const auto& of = topic(name);
  auto schemas = must(open_log_registry(*log_));
  std::vector<std::string> all;
  for (std::int32_t p = 0; p < of.partitions; ++p) {
    for (const auto& record : raw(name, p)) {
      if (!record.has_value) {
        all.emplace_back("null");
        continue;
      }
      const auto frame = parse_frame(record.value);
      if (!frame) throw std::runtime_error("a record without a frame in " + name);
      const auto writer = must(schemas->by_id(frame->schema_id));
      const auto plan = must(decode_plan::compile(*writer, *writer));
      columns row{plan.fields()};
      if (plan.decode(frame->body, row)) throw std::runtime_error("a record that cannot be decoded in " + name);
      std::vector<const ArrowArray*> arrays;
      for (std::size_t i = 0; i < row.size(); ++i) arrays.push_back(&row[i].lend());
      append_json_row(plan.fields(), arrays, 0, all.emplace_back());
    }
  }
  std::sort(all.begin(), all.end());
  return all;
}

const port_counts& port(const run_summary& summary, const std::string& node, const std::string& name) {
  for (const auto& one : summary.ports) {
    if (one.node == node && one.port == name) return one;
  }
  throw std::runtime_error("no port " + node + "." + name);
}

}  // namespace sonder
