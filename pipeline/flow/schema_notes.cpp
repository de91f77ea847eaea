#include "flow/schema_notes.h"

#include <charconv>

namespace sonder {

namespace {

/// Notes `schema/1`, `schema/2` ... hold `id\nsubject\njson`, in the order in which they were added.
class log_index final : public schema_index {
 public:
  explicit log_index(log& on) : on_(on) {}

  result<std::vector<entry>> load() override {
    std::vector<entry> all;
    for (std::size_t i = 1;; ++i) {
      auto note = on_.note("schema/" + std::to_string(i));
      if (!note) return tl::unexpected(note.error());
      if (!*note) break;
      auto read = parse(**note);
      if (!read) return tl::unexpected(read.error().at("schema note " + std::to_string(i)));
      all.push_back(std::move(*read));
    }
    count_ = all.size();
    return all;
  }

  status add(const entry& e) override {
    SONDER_TRY(on_.set_note("schema/" + std::to_string(count_ + 1), std::to_string(e.id) + "\n" + e.subject + "\n" + e.json));
    ++count_;
    return {};
  }

 private:
  static result<entry> parse(const std::string& text) {
    entry e;
    const auto first = text.find('\n');
    const auto second = first == std::string::npos ? first : text.find('\n', first + 1);
    if (second == std::string::npos) return fail(errc::corrupt, "is not an id, a subject and a schema");
    const auto [end, wrong] = std::from_chars(text.data(), text.data() + first, e.id);
    if (wrong != std::errc() || end != text.data() + first) return fail(errc::corrupt, "has no schema id");
    e.subject = text.substr(first + 1, second - first - 1);
    e.json = text.substr(second + 1);
    return e;
  }

  log& on_;
  std::size_t count_ = 0;
};

}  // namespace

std::unique_ptr<schema_index> make_log_index(log& on) { return std::make_unique<log_index>(on); }

result<std::unique_ptr<indexed_registry>> open_log_registry(log& on) { return indexed_registry::open(make_log_index(on)); }

}  // namespace sonder
