#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <set>
#include <system_error>

#include "avro/json.h"
#include "cli/command.h"
#include "cli/demo_population.h"
#include "cli/place.h"
#include "cli/row_feed.h"
#include "cli/topic_shape.h"
#include "cli/topic_writer.h"
#include "plugin/config_schema.h"

namespace sonder::cli {
namespace {

constexpr std::int64_t rows_at_once = 256;

struct demo_command {
  place_options where;
  demo_options population;
  std::string input;
  std::string text_column = "text";
  std::string journal = "journal";
  std::string consent = "consent";
  std::string out_dir;
  std::string planted;
  std::string print;
  bool quiet = false;
  bool json = false;
  bool details = false;
  std::uint64_t left_out = 0;  ///< texts of `input` that hold nothing but white space
  CLI::Option* entries = nullptr;
  CLI::Option* consenting = nullptr;
  CLI::Option* purpose = nullptr;
};

/// Where rows go, as JSON objects.
using row_taker = std::function<status(const std::string& json)>;

/// Rows of one topic, from JSON to the log.
class topic_rows {
 public:
  static result<std::unique_ptr<topic_rows>> open(const place& where, log& to,
                                                  schema_registry& schemas,
                                                  const std::string& topic,
                                                  const shape_options& given) {
    auto shape = shape_of(where, to, schemas, topic, given);
    if (!shape) return tl::unexpected(shape.error());
    auto fields = column_fields(*shape->of);
    json_row_reader reader(shape->of);
    reader.ignore_unknown(true);  // an app's own schema may know less of an entry than ours
    auto writer = topic_writer::create(to, std::move(*shape), fields);
    if (!writer) return tl::unexpected(writer.error());
    return std::unique_ptr<topic_rows>(
        new topic_rows(std::move(reader), columns(fields), std::move(*writer)));
  }

  status take(const std::string& json) {
    SONDER_TRY(reader_.append(json, rows_));
    return rows_.length() < rows_at_once ? status{} : write();
  }
  status finish() {
    SONDER_TRY(write());
    return writer_->flush();
  }

 private:
  topic_rows(json_row_reader reader, columns rows, std::unique_ptr<topic_writer> writer)
      : reader_(std::move(reader)), rows_(std::move(rows)), writer_(std::move(writer)) {}
  status write() {
    SONDER_TRY(writer_->write(rows_));
    rows_.clear();
    return {};
  }

  json_row_reader reader_;
  columns rows_;
  std::unique_ptr<topic_writer> writer_;
};

/// The next text that says anything; `left_out` counts the others.
result<bool> next_text(text_feed& from, std::string& text, std::uint64_t& left_out) {
  while (true) {
    const auto more = from.next(text);
    if (!more || !*more || text.find_first_not_of(" \t\r\n") != std::string::npos) return more;
    ++left_out;
  }
}

/// Sets how many entries the input makes.
status count_texts(demo_command& options) {
  if (options.input == "-") return fail(errc::unsupported, "--input must be a file: it is read twice");
  auto texts = open_texts(options.input, options.text_column);
  if (!texts) return tl::unexpected(texts.error());
  const auto most = options.entries->count() > 0 ? options.population.entries : std::numeric_limits<std::uint64_t>::max();
  std::string text;
  std::uint64_t count = 0;
  for (; count < most; ++count) {
    const auto more = next_text(**texts, text, options.left_out);
    if (!more) return tl::unexpected(more.error());
    if (!*more) break;
  }
  options.population.entries = count;
  return count > 0 ? status{} : fail(errc::invalid, options.input + ": holds no text");
}

/// What was made of a population until now.
struct demo_made {
  bool began = false;
  std::uint64_t decisions = 0;
};

status give_decisions(const demo_population& of, const row_taker& to, demo_made& so_far) {
  so_far.began = true;
  for (const auto& decision : of.decisions()) {
    SONDER_TRY(to(to_json(decision)));
    ++so_far.decisions;
  }
  return {};
}

status give_entries(const demo_command& options, const demo_population& of, const row_taker& to,
                    const row_taker& planted, progress_line& progress) {
  std::unique_ptr<text_feed> texts;
  if (!options.input.empty()) {
    auto opened = open_texts(options.input, options.text_column);
    if (!opened) return tl::unexpected(opened.error());
    texts = std::move(*opened);
  }
  std::string text;
  std::uint64_t left_out = 0;
  for (std::uint64_t i = 0; i < of.options().entries; ++i) {
    if (texts != nullptr) {
      const auto more = next_text(*texts, text, left_out);
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
    }
    const auto entry = texts != nullptr ? of.entry_with(i, text, options.details) : of.entry(i);
    SONDER_TRY(to(to_json(entry)));
    if (planted && !entry.planted.empty()) SONDER_TRY(planted(planted_json(entry)));
    if (progress.shown() && i % 4096 == 0)
      progress.show("journal: " + grouped(i) + " of " + grouped(of.options().entries) + " entries");
  }
  return {};
}

row_taker lines_to(std::ostream& out, const std::string& name) {
  return [&out, name](const std::string& json) -> status {
    out << json << '\n';
    return out ? status{} : fail(errc::io, name + " cannot be written; is its disk full?");
  };
}

status write_files(const demo_command& options, const demo_population& of, const row_taker& planted,
                   progress_line& progress, demo_made& so_far) {
  std::error_code failed;
  std::filesystem::create_directories(options.out_dir, failed);
  const auto consent_name = options.out_dir + "/consent.jsonl";
  const auto journal_name = options.out_dir + "/journal.jsonl";
  std::ofstream consent(consent_name);
  std::ofstream journal(journal_name);
  if (!consent || !journal) return fail(errc::io, options.out_dir + ": cannot be written");
  SONDER_TRY(give_decisions(of, lines_to(consent, consent_name), so_far));
  SONDER_TRY(give_entries(options, of, lines_to(journal, journal_name), planted, progress));
  const bool written = consent.flush() && journal.flush();
  return written ? status{} : fail(errc::io, options.out_dir + ": cannot be written; is its disk full?");
}

status write_topics(const demo_command& options, const demo_population& of,
                    const row_taker& planted, progress_line& progress, demo_made& so_far) {
  const auto where = find_place(options.where);
  if (!where) return tl::unexpected(where.error());
  const auto to = open_to_append(*where);
  if (!to) return tl::unexpected(to.error());
  const auto consent = topic_rows::open(*where, *to->on, *to->schemas, options.consent, {.past = true});
  if (!consent) return tl::unexpected(consent.error());
  const auto journal = topic_rows::open(*where, *to->on, *to->schemas, options.journal, {.past = true});
  if (!journal) return tl::unexpected(journal.error());
  SONDER_TRY(give_decisions(of, [&](const std::string& json) { return (*consent)->take(json); }, so_far));
  SONDER_TRY((*consent)->finish());
  SONDER_TRY(give_entries(
      options, of, [&](const std::string& json) { return (*journal)->take(json); }, planted,
      progress));
  return (*journal)->finish();
}

status print_rows(const demo_command& options, const demo_population& of, progress_line& progress, demo_made& so_far) {
  const auto out = lines_to(std::cout, "standard output");
  so_far.began = true;
  if (options.print == "consent") return give_decisions(of, out, so_far);
  if (options.print == "journal") return give_entries(options, of, out, {}, progress);
  const row_taker nowhere = [](const std::string&) { return status{}; };
  return give_entries(options, of, nowhere, out, progress);
}

/// A purpose that the flow does not serve would make people whose decisions nothing asks for.
status check_purpose(const demo_command& options) {
  if (options.where.config.empty() || options.purpose->count() == 0) return {};
  const auto where = find_place(options.where);
  if (!where) return tl::unexpected(where.error());
  std::set<std::string> served;
  for (const auto& stage : where->flow->stages) served.insert(stage.purpose);
  for (const auto& topic : where->flow->topics) {
    served.insert(topic.purpose);
    for (const auto& [field, purpose] : topic.withhold) served.insert(purpose);
  }
  served.erase("");
  const auto& asked = options.population.purpose;
  if (served.empty() || served.contains(asked)) return {};
  const std::vector<std::string> names(served.begin(), served.end());
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : ", ") + name;
  return fail(errc::not_found, "--purpose " + asked + ": " + options.where.config + " serves no such purpose; it serves " + all +
                                   did_you_mean(asked, names));
}

/// How much went where.
void tell_what_was_made(const demo_command& options, const demo_made& made) {
  const bool files = !options.out_dir.empty();
  const auto place = [&](const std::string& topic) { return files ? options.out_dir + "/" + topic + ".jsonl" : "topic " + topic; };
  std::cerr << counted(made.decisions, "decision") << " to " << place(files ? "consent" : options.consent) << ", "
            << grouped(options.population.entries) << (options.population.entries == 1 ? " entry to " : " entries to ")
            << place(files ? "journal" : options.journal) << '\n';
}

/// What a reader of the results could take for something that the input said.
void tell_what_is_made_up(const demo_command& options) {
  const auto entries = options.population.entries;
  const auto people = options.population.subjects;
  std::cerr << options.input << ": " << counted(entries, "text") << (entries == 1 ? " as entry of " : " as entries of ")
            << (people == 1 ? "1 made-up person" : grouped(people) + " made-up people") << "; who wrote them and when"
            << (options.details ? ", age, country, mood and the like are" : " is") << " made up, other columns are not read";
  if (options.left_out > 0) std::cerr << "; " << counted(options.left_out, "empty text") << " left out";
  std::cerr << ". Your own people and times: sonder produce\n";
}

int make_demo(demo_command options) {
  if (const auto served = check_purpose(options); !served) return refuse(exit_usage, served.error());
  if (!options.input.empty()) {
    if (const auto counted = count_texts(options); !counted)
      return refuse(exit_cannot_start, counted.error());
    // Somebody's own texts are there to be read: all of them, unless asked otherwise.
    if (options.consenting->count() == 0) options.population.consenting = 1;
    options.population.subjects = std::min(options.population.subjects, options.population.entries);
  }
  const demo_population of(options.population);
  progress_line progress(options.quiet);
  std::ofstream planted_file;
  row_taker planted;
  if (!options.planted.empty()) {
    planted_file.open(options.planted);
    if (!planted_file) return refuse(exit_cannot_start, options.planted + ": cannot be written");
    planted = lines_to(planted_file, options.planted);
  }
  status done;
  demo_made made;
  if (!options.print.empty())
    done = print_rows(options, of, progress, made);
  else if (!options.out_dir.empty())
    done = write_files(options, of, planted, progress, made);
  else
    done = write_topics(options, of, planted, progress, made);
  progress.clear();
  if (!done) return refuse(made.began ? exit_failed : exit_cannot_start, done.error());
  if (options.json && options.print.empty())
    std::cout << R"({"seed":)" << options.population.seed << R"(,"subjects":)" << of.options().subjects << R"(,"entries":)"
              << of.options().entries << R"(,"texts_left_out":)" << options.left_out << "}\n";
  if (options.print.empty() && !options.json && !options.quiet) tell_what_was_made(options, made);
  if (!options.input.empty() && !options.quiet) tell_what_is_made_up(options);
  return exit_ok;
}

}  // namespace

void add_demo(CLI::App& app, chosen_command& chosen) {
  auto* command = app.add_subcommand(
      "demo", "Make a population: subjects, consents and withdrawals, journal entries");
  const auto options = std::make_shared<demo_command>();
  add_place_options(*command, options->where);
  options->entries = command
                         ->add_option("--entries", options->population.entries,
                                      "Journal entries (default 50000; with --input all its texts)")
                         ->check(CLI::Range(1, 100'000'000));
  command
      ->add_option("--subjects", options->population.subjects,
                   "People (default 1000; with --input no more than texts)")
      ->check(CLI::Range(1, 10'000'000));
  command
      ->add_option("--seed", options->population.seed,
                   "The same seed gives the same population (default 1)")
      ->check(CLI::NonNegativeNumber);
  options->consenting = command
                            ->add_option("--consenting", options->population.consenting,
                                         "Share whose grant stands (default 0.7; 1 with --input)")
                            ->check(CLI::Range(0.0, 1.0));
  options->purpose = command->add_option("--purpose", options->population.purpose, "Purpose that they decide about");
  command
      ->add_option("--input", options->input,
                   "Your own texts in place of made-up ones: .csv .tsv .jsonl .avro. Who wrote them and when is made up; other "
                   "columns are not read, empty texts left out")
      ->type_name("FILE");
  command->add_flag("--details", options->details,
                    "With --input: make up age, country, mood and the like too (else null)")
      ->needs("--input");
  command->add_option("--text", options->text_column, "Column that holds the text (default text)")
      ->type_name("COLUMN");
  command
      ->add_option("--out", options->out_dir,
                   "Write consent.jsonl and journal.jsonl there, not to topics")
      ->type_name("DIR");
  command
      ->add_option("--print", options->print,
                   "Print one of consent, journal, planted as JSON lines")
      ->excludes("--out")
      ->check(CLI::IsMember({"consent", "journal", "planted"}));
  command->add_option("--planted", options->planted, "Write which identifiers stand in which entry")
      ->type_name("FILE");
  command->add_flag("--json", options->json, "Say what was made as JSON");
  command->add_flag("--quiet", options->quiet, "Say nothing but errors");
  command->footer("Example:\n  sonder demo --entries 3 --print journal");
  command->callback([&chosen, options] { chosen = [options] { return make_demo(*options); }; });
}

}  // namespace sonder::cli
