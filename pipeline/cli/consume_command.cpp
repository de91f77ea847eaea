#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <optional>

#include "avro/container.h"
#include "avro/encode_plan.h"
#include "cli/command.h"
#include "cli/dead_letter_reader.h"
#include "cli/place.h"
#include "cli/record_reader.h"
#include "cli/stop_signal.h"
#include "cli/topic_shape.h"
#include "record/number_of.h"

namespace sonder::cli {
namespace {

constexpr std::chrono::milliseconds look_again{200};

struct consume_options {
  place_options where;
  std::string topic;
  std::string container;
  std::string codec = "deflate";
  std::string schema;
  std::int32_t partition = -1;
  std::uint64_t records_max = 0;
  bool from_beginning = false;
  bool until_end = false;
  bool unseal = false;
};

/// Prints what there is. A pipe whose reader has gone is noticed also where there is nothing to print.
status print_now(std::string& text) {
  std::cout << text << std::flush;
  text.clear();
  if (!std::cout) return fail(errc::io, "standard output cannot be written");
  pollfd out{STDOUT_FILENO, 0, 0};
  const bool gone = ::poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
  return gone ? status{fail(errc::io, "standard output cannot be written: nobody reads it any more")} : status{};
}

/// Takes records one after the other.
class record_sink {
 public:
  virtual ~record_sink() = default;
  virtual status take(std::int32_t partition, const log_record& record) = 0;
  virtual status pause() = 0;  ///< nothing more for now
  virtual status finish() = 0;
};

class json_lines_sink final : public record_sink {
 public:
  json_lines_sink(std::string topic, value_reader& values, schema_ptr key_of)
      : printer_(std::move(topic), values, std::move(key_of)) {}

  status take(std::int32_t partition, const log_record& record) override {
    printer_.print(partition, record, text_);
    return text_.size() < 65536 ? status{} : pause();
  }
  status pause() override { return print_now(text_); }
  status finish() override {
    SONDER_TRY(pause());
    if (printer_.unreadable() == 0) return {};
    return fail(errc::corrupt, number_of(printer_.unreadable(), "record") + " could not be read; each line says why");
  }

 private:
  record_printer printer_;
  std::string text_;
};

/// The records that dead letters hold sealed, instead of the letters.
class unsealing_sink final : public record_sink {
 public:
  explicit unsealing_sink(std::unique_ptr<dead_letter_reader> letters) : letters_(std::move(letters)) {}

  status take(std::int32_t partition, const log_record& record) override {
    if (auto printed = letters_->print(record, text_); !printed)
      return tl::unexpected(
          printed.error().at("partition " + std::to_string(partition) + ", offset " + std::to_string(record.offset)));
    return text_.size() < 65536 ? status{} : pause();
  }
  status pause() override { return print_now(text_); }
  status finish() override {
    SONDER_TRY(pause());
    if (letters_->without_record() + letters_->under_other_keys() == 0) return {};
    return fail(errc::corrupt, grouped(letters_->without_record()) + " dead letters hold no sealed record, " +
                                   grouped(letters_->under_other_keys()) + " one under another key than " + letters_->key_id());
  }

 private:
  std::unique_ptr<dead_letter_reader> letters_;
  std::string text_;
};

/// Values only, as records of one schema: the given one, else that of the first value.
class container_sink final : public record_sink {
 public:
  container_sink(std::string file, value_reader& values, schema_ptr as, container_codec codec)
      : file_(std::move(file)), values_(values), as_(std::move(as)), codec_(codec) {}

  status take(std::int32_t partition, const log_record& record) override {
    if (!record.has_value) return {};  // a container file has no place for a tombstone
    const auto place =
        "partition " + std::to_string(partition) + ", offset " + std::to_string(record.offset);
    const auto row = values_.read(record.value);
    if (!row) return tl::unexpected(row.error().at(place));
    if (as_ == nullptr) as_ = row->of;
    if (!writer_) SONDER_TRY(open());
    if (plan_of_ != row->of) SONDER_TRY(compile(*row));
    arrays_.clear();
    for (std::size_t i = 0; i < row->values->size(); ++i)
      arrays_.push_back(&(*row->values)[i].lend());
    encoder_->bind(arrays_);
    body_.clear();
    if (const auto refused = encoder_->encode(0, body_); refused)
      return fail(errc::invalid, place + ": " + plan_->describe(refused));
    return writer_->append({body_.data(), body_.size()});
  }
  status pause() override { return {}; }
  status finish() override {
    if (!writer_ && as_ != nullptr) SONDER_TRY(open());
    if (!writer_)
      return fail(
          errc::not_found,
          file_ + ": there was no record, so there is no schema to write; give --schema FILE");
    return writer_->close();
  }

 private:
  status open() {
    auto writer = container_writer::create(file_, *as_, codec_);
    if (!writer) return tl::unexpected(writer.error());
    writer_.emplace(std::move(*writer));
    return {};
  }
  status compile(const value_reader::row& row) {
    auto plan = encode_plan::compile(*as_, *row.fields);
    if (!plan) return tl::unexpected(plan.error());
    encoder_.reset();
    plan_.emplace(std::move(*plan));
    encoder_.emplace(*plan_);
    plan_of_ = row.of;
    return {};
  }

  std::string file_;
  value_reader& values_;
  schema_ptr as_;
  container_codec codec_;
  schema_ptr plan_of_;
  std::optional<container_writer> writer_;
  std::optional<encode_plan> plan_;
  std::optional<row_encoder> encoder_;
  std::vector<const ArrowArray*> arrays_;
  buffer body_;
};

struct partition_cursor {
  std::int32_t partition = 0;
  std::int64_t next = 0;
  std::int64_t end = 0;  ///< where `--until-end` stops
};

class reading {
 public:
  reading(log& from, const consume_options& options, std::string topic)
      : from_(from), options_(options), topic_(std::move(topic)) {}

  status start() {
    const auto config = from_.describe(topic_);
    if (!config) return tl::unexpected(config.error());
    if (options_.partition >= config->partitions)
      return fail(errc::not_found,
                  "topic \"" + topic_ + "\" has " + number_of(config->partitions, "partition") + "; --partition counts from 0");
    for (std::int32_t p = 0; p < config->partitions; ++p) {
      if (options_.partition >= 0 && p != options_.partition) continue;
      const auto range = from_.offsets(topic_, p);
      if (!range) return tl::unexpected(range.error());
      cursors_.push_back({p, options_.from_beginning ? range->first : range->end, range->end});
    }
    return {};
  }

  status run(record_sink& to) {
    const auto& stop = stop_requests();
    std::uint64_t seen = 0;
    while (stop == 0 && !full()) {
      bool moved = false;
      for (auto& cursor : cursors_) {
        const auto more = round(cursor, to);
        if (!more) return tl::unexpected(more.error());
        moved = moved || *more;
      }
      if (moved) continue;
      // A log may need a moment to bring what is there: the end is where it was when this began.
      if (options_.until_end && std::all_of(cursors_.begin(), cursors_.end(), [](const auto& c) { return c.next >= c.end; })) break;
      SONDER_TRY(to.pause());
      from_.wait_for_records(seen, look_again);
    }
    return to.finish();
  }

 private:
  [[nodiscard]] bool full() const {
    return options_.records_max != 0 && taken_ >= options_.records_max;
  }

  // Some records of one partition; false if there were none.
  result<bool> round(partition_cursor& cursor, record_sink& to) {
    if (full() || (options_.until_end && cursor.next >= cursor.end)) return false;
    SONDER_TRY(from_.fetch(topic_, cursor.partition, cursor.next, {}, block_));
    for (const auto& record : block_.records) {
      if (full() || (options_.until_end && record.offset >= cursor.end)) break;
      SONDER_TRY(to.take(cursor.partition, record));
      ++taken_;
    }
    const bool moved = block_.next_offset > cursor.next;
    cursor.next = block_.next_offset;
    return moved;
  }

  log& from_;
  const consume_options& options_;
  std::string topic_;
  std::vector<partition_cursor> cursors_;
  record_block block_;
  std::uint64_t taken_ = 0;
};

int consume(const consume_options& options) {
  const auto where = find_place(options.where);
  if (!where) return refuse(exit_cannot_start, where.error());
  const auto from = open_to_read(*where);
  if (!from) return refuse(exit_cannot_start, from.error());
  const auto* configured = where->topic(options.topic);
  const auto schema_file = !options.schema.empty() ? options.schema
                           : configured != nullptr ? configured->schema
                                                   : "";
  schema_ptr of;
  if (!schema_file.empty()) {
    auto loaded = load_schema_file(schema_file);
    if (!loaded) return refuse(exit_cannot_start, loaded.error());
    of = std::move(*loaded);
  }
  const bool bare = configured != nullptr && configured->bare;
  value_reader values(*from->schemas, bare ? of : nullptr);
  reading records(*from->on, options, configured != nullptr ? configured->topic : options.topic);
  if (const auto started = records.start(); !started) {
    const bool unknown = started.error().code == errc::not_found && !from->on->describe(options.topic);
    return refuse(exit_cannot_start, started.error().message + (unknown ? nearest_topic(*where, *from->on, options.topic) : ""));
  }
  const auto key_of =
      of != nullptr && configured != nullptr ? key_schema(*of, configured->key) : nullptr;
  std::unique_ptr<record_sink> to;
  if (options.unseal) {
    auto letters = dead_letter_reader::open(*where, values);
    if (!letters) return refuse(exit_cannot_start, letters.error());
    to = std::make_unique<unsealing_sink>(std::move(*letters));
  } else if (options.container.empty()) {
    to = std::make_unique<json_lines_sink>(options.topic, values, key_of);
  } else {
    to = std::make_unique<container_sink>(options.container, values, of,
                                          parse_container_codec(options.codec).value());
  }
  const auto done = records.run(*to);
  if (done) return exit_ok;
  return refuse(done.error().code == errc::corrupt ? exit_findings : exit_failed, done.error());
}

}  // namespace

void add_consume(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand(
      "consume", "Print a topic's records as JSON lines, also while a worker runs");
  const auto options = std::make_shared<consume_options>();
  command->add_option("TOPIC", options->topic, "Topic, as the configuration names it")->required();
  add_place_options(*command, options->where);
  command->add_flag("--from-beginning", options->from_beginning,
                    "From the oldest record kept (default: only new ones)");
  command->add_flag("--until-end", options->until_end,
                    "Leave at the end that the topic had at the start");
  command->add_option("--max", options->records_max, "Leave after so many records")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  command->add_option("--partition", options->partition, "Only this partition")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--container", options->container,
                   "Write values to an Avro container file instead")
      ->type_name("FILE");
  command
      ->add_option("--codec", options->codec,
                   "Of the container file (default: deflate; what Apache Avro C writes)")
      ->check(CLI::IsMember({"null", "deflate", "snappy"}));
  command
      ->add_option("--schema", options->schema, "Schema of a bare topic, or of the container file")
      ->type_name("FILE");
  command
      ->add_flag("--unseal", options->unseal,
                 "Of a dead-letter topic: print the records that its letters hold sealed, opened with the configuration's "
                 "quarantine_key, as their own topics would show them")
      ->excludes("--container");
  command->footer(
      "One object a line: topic partition offset timestamp_ms key headers value; unions "
      "unwrapped.\n"
      "Exit code 1 if records could not be read.\n\n"
      "Example:\n  sonder consume insight --from-beginning --until-end --config "
      "config/quickstart.yaml");
  command->callback([&chosen, options] { chosen = [options] { return consume(*options); }; });
}

}  // namespace sonder::cli
