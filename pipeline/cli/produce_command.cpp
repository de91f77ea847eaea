#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>

#include "cli/command.h"
#include "cli/place.h"
#include "cli/row_feed.h"
#include "cli/topic_shape.h"
#include "cli/topic_writer.h"

namespace sonder::cli {
namespace {

constexpr std::size_t rows_at_once = 256;

struct produce_options {
  place_options where;
  shape_options shape;
  std::string topic;
  std::vector<std::string> files = {"-"};
  std::string format;
  std::vector<std::string> map;
  bool ignore_unknown = false;
  bool tombstones = false;
  bool quiet = false;
  bool json = false;
};

using column_map = std::vector<std::pair<std::string, std::string>>;

/// What `--map` says: FIELD=COLUMN, each.
result<column_map> read_map(const std::vector<std::string>& given) {
  column_map out;
  for (const auto& one : given) {
    const auto at = one.find('=');
    if (at == 0 || at == std::string::npos)
      return fail(errc::invalid, "--map " + one + ": must be FIELD=COLUMN, such as text=body");
    out.emplace_back(one.substr(0, at), one.substr(at + 1));
  }
  return out;
}

result<row_feed::options> feed_options(const produce_options& options, const std::string& file) {
  row_feed::options out;
  if (options.format.empty()) {
    const auto form = form_of(file);
    if (!form) return fail(form.error().code, form.error().message + "; or say what it is with --format");
    out.form = *form;
  } else {
    static const std::map<std::string, feed_form> forms = {{"jsonl", feed_form::json_lines},
                                                           {"csv", feed_form::csv},
                                                           {"tsv", feed_form::csv},
                                                           {"avro", feed_form::container}};
    out.form = forms.at(options.format);
  }
  if (options.format == "tsv" || (options.format.empty() && file.ends_with(".tsv")))
    out.separator = '\t';
  out.ignore_unknown = options.ignore_unknown;
  out.tombstones = options.tombstones;
  auto map = read_map(options.map);
  if (!map) return tl::unexpected(map.error());
  out.map = std::move(*map);
  return out;
}

struct produced {
  std::uint64_t records = 0;
  bool tombstones = false;  ///< some of them, written or about to be
};

status produce_file(const produce_options& options, const std::string& file, log& to,
                    const record_shape& shape, progress_line& progress, produced& so_far) {
  auto how = feed_options(options, file);
  if (!how) return tl::unexpected(how.error());
  how->key = shape.key;
  auto feed = open_feed(file, shape.of, *how);
  if (!feed) return tl::unexpected(feed.error());
  auto writer = topic_writer::create(to, shape, (*feed)->fields());
  if (!writer) return tl::unexpected(writer.error());
  columns rows((*feed)->fields());
  while (true) {
    rows.clear();
    const auto read = (*feed)->read(rows_at_once, rows);
    // What was read before a broken row goes in: the message says at which row to go on.
    auto marks = (*feed)->tombstones();
    marks.resize(marks.empty() ? 0 : static_cast<std::size_t>(rows.length()));
    so_far.tombstones = so_far.tombstones || std::find(marks.begin(), marks.end(), 1) != marks.end();
    const auto written = (*writer)->write(rows, marks);
    if (!written || !read || *read == 0) {
      const bool away = !written && written.error().code != errc::invalid;
      const auto flushed = away ? written : (*writer)->flush();
      so_far.records += (*writer)->appended();
      if (!flushed) return flushed;
      if (!written) return written;
      return read ? status{} : status{tl::unexpected(read.error())};
    }
    if (progress.shown())
      progress.show(shape.topic + ": " + counted(so_far.records + (*writer)->records(), "record"));
  }
}

/// What can be known before the first record is written.
status check_files(const produce_options& options) {
  for (const auto& file : options.files) {
    if (const auto how = feed_options(options, file); !how) return tl::unexpected(how.error());
    if (file != "-" && !std::ifstream(file))
      return fail(errc::not_found, file + ": cannot be read; is the path right?");
  }
  return {};
}

int produce(const produce_options& options) {
  if (const auto map = read_map(options.map); !map) return refuse(exit_usage, map.error());
  if (const auto there = check_files(options); !there)
    return refuse(exit_cannot_start, there.error());
  const auto where = find_place(options.where);
  if (!where) return refuse(exit_cannot_start, where.error());
  const auto to = open_to_append(*where);
  if (!to) return refuse(exit_cannot_start, to.error());
  const auto shape = shape_of(*where, *to->on, *to->schemas, options.topic, options.shape);
  if (!shape) return refuse(exit_cannot_start, shape.error());
  produced so_far;
  status done;
  {
    progress_line progress(options.quiet);
    for (const auto& file : options.files) {
      done = produce_file(options, file, *to->on, *shape, progress, so_far);
      if (!done) break;
    }
  }
  if (options.json)
    std::cout << R"({"topic":")" << shape->topic << R"(","records":)" << so_far.records << "}\n";
  else if (!options.quiet && (done || so_far.records > 0))
    std::cerr << counted(so_far.records, "record") << " to " << shape->topic << '\n';
  const auto* configured = where->topic(options.topic);
  if (so_far.tombstones && configured != nullptr && configured->role == topic_role::event && !configured->compact)
    std::cerr << "sonder: warning: topic \"" << shape->topic << "\" holds events and is not compacted: a tombstone removes nothing there\n";
  return done ? exit_ok : refuse(exit_failed, done.error());
}

}  // namespace

void add_produce(CLI::App& app, chosen_command& chosen) {
  auto* command =
      app.add_subcommand("produce", "Append records to a topic, also while a worker runs");
  const auto options = std::make_shared<produce_options>();
  command->add_option("TOPIC", options->topic, "Topic, as the configuration names it")->required();
  command->add_option("FILE", options->files,
                      "JSON lines, CSV, or Avro container files (default: standard input)");
  add_place_options(*command, options->where);
  command
      ->add_option("--format", options->format,
                   "What is in the files (default: by extension, else jsonl)")
      ->check(CLI::IsMember({"jsonl", "csv", "tsv", "avro"}));
  command
      ->add_option("--map", options->map,
                   "CSV: which column goes to a field (default: those of its name)")
      ->type_name("FIELD=COLUMN")
      ->allow_extra_args(false);
  command->add_option("--schema", options->shape.schema,
                      "Schema file (default: the configured, else the newest registered that can be read)")
      ->type_name("FILE");
  command->add_option("--subject", options->shape.subject, "Field that partitions")
      ->type_name("FIELD");
  command->add_option("--event-time", options->shape.event_time, "Field for the record timestamp")
      ->type_name("FIELD");
  command->add_option("--key", options->shape.key, "Fields of the key")
      ->type_name("FIELD")
      ->allow_extra_args(false);
  command->add_option("--partitions", options->shape.partitions, "Of a topic that is new")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--ignore-unknown", options->ignore_unknown,
                    "Pass over JSON members that the schema lacks");
  command->add_flag("--tombstones", options->tombstones,
                    "Rows are keys of records to remove (of JSON lines, also one by one: "
                    "{\"key\": KEY, \"value\": null})");
  command->add_flag("--json", options->json, "Say how many records as JSON");
  command->add_flag("--quiet", options->quiet, "Say nothing but errors");
  command->footer(
      "Example:\n  sonder produce journal entries.csv --map text=body --config "
      "config/quickstart.yaml");
  command->callback([&chosen, options] { chosen = [options] { return produce(*options); }; });
}

}  // namespace sonder::cli
