#include "finder.h"

#include <algorithm>

#include "variants.h"

namespace sonder::anonymizer {
namespace {

// A placeholder in the text is no identifier, nor is its word one.
void claim_placeholders(workspace& work) {
  if (!work.traits.has_bracket) return;
  auto& tokens = work.tokens;
  for (std::size_t i = 1; i + 1 < tokens.size(); ++i) {
    if (tokens[i - 1].mark != '[' || tokens[i + 1].mark != ']' || !tokens[i].upper) continue;
    const std::string_view text =
        work.text.substr(tokens[i - 1].start, tokens[i + 1].end - tokens[i - 1].start);
    for (std::size_t type = 0; type < static_cast<std::size_t>(identifier_type::count_); ++type) {
      if (placeholder(static_cast<identifier_type>(type)) == text)
        tokens[i].claimed_as = static_cast<identifier_type>(type);
    }
  }
}

}  // namespace

bool unclaimed(const workspace& work, std::size_t first, std::size_t last) noexcept {
  for (std::size_t i = first; i <= last; ++i) {
    if (work.tokens[i].claimed()) return false;
  }
  return true;
}

void claim(workspace& work, std::size_t first, std::size_t last, identifier_type type,
           float score) {
  for (std::size_t i = first; i <= last; ++i) work.tokens[i].claimed_as = type;
  work.spans.push_back({work.tokens[first].start, work.tokens[last].end, type, score});
}

bool cue_before(const workspace& work, std::size_t at, std::uint64_t flags,
                std::size_t reach) noexcept {
  for (std::size_t words = 0; at > 0 && words < reach; --at) {
    if (work.tokens[at].before == gap::line_break) return false;
    const token& each = work.tokens[at - 1];
    if (each.kind == token_kind::mark) continue;
    if ((each.flags & flags) != 0) return true;
    ++words;
  }
  return false;
}

finder::finder(finder_options options)
    : numbers_(options.dates), phones_(std::move(options.phone_regions)), dates_(options.dates) {}

void finder::find(std::string_view text, workspace& work) const {
  work.bytes.scan(text);
  if (!work.bytes.any_high() || !has_variants(text)) return search(text, work);
  without_variants(text, work.plain, work.origins);
  work.bytes.scan(work.plain);
  search(work.plain, work);
  for (span& each : work.spans) {
    each.end = end_in(text, work.origins, each.end);
    each.start = work.origins[each.start];
  }
  work.text = text;
}

void finder::search(std::string_view text, workspace& work) const {
  tokenise(text, words_, work);
  claim_placeholders(work);
  find_network(work);
  find_usernames(work);
  numbers_.find(work);
  phones_.find(work);
  find_addresses(words_, work);
  find_written_dates(work, dates_);
  find_ages(work);
  find_names(words_, work);
  std::sort(work.spans.begin(), work.spans.end(),
            [](const span& a, const span& b) { return a.start < b.start; });
  join_addresses(work);
}

void redact(const workspace& work, std::string& out) {
  out.clear();
  std::size_t from = 0;
  for (const span& each : work.spans) {
    out.append(work.text.substr(from, each.start - from));
    out.append(placeholder(each.type));
    from = each.end;
  }
  out.append(work.text.substr(from));
}

}  // namespace sonder::anonymizer
