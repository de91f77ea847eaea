#include <phonenumbers/phonenumberutil.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "rules.h"

namespace sonder::anonymizer {
namespace {

using i18n::phonenumbers::PhoneNumber;
using i18n::phonenumbers::PhoneNumberUtil;

constexpr std::size_t phone_digits_min = 6;
constexpr std::size_t phone_digits_max = 15;  // ITU-T E.164, 6.2.1
constexpr std::size_t phone_tokens_max = 24;
constexpr std::size_t extension_digits_max = 6;
constexpr std::size_t groups_max = 6;
constexpr std::size_t confirmations_max =
    32;  // of a text; what comes after them counts as confirmed

struct candidate {
  std::size_t first = 0;
  std::size_t last = 0;
  std::size_t digits = 0;
  std::size_t groups = 0;
  bool plus = false;
  bool brackets = false;
};

bool joins_phone(char mark) {
  return mark == '-' || mark == '.' || mark == '/' || mark == '(' || mark == ')' || mark == '+';
}

// The run of digits and phone marks from `first`; its last token is a number.
candidate longest_run(const workspace& work, std::size_t first) {
  candidate run{first, first};
  const auto& tokens = work.tokens;
  for (std::size_t i = first; i < tokens.size() && i - first < phone_tokens_max; ++i) {
    const token& each = tokens[i];
    if (each.claimed() || (i > first && each.before == gap::line_break)) break;
    if (each.kind == token_kind::mark) {
      if (!joins_phone(each.mark)) break;
      if (each.mark == '+' && i != first) break;
      // "555. 12 people": a mark with a space behind it ends the number, brackets aside.
      const bool bracket = each.mark == '(' || each.mark == ')';
      if (!bracket && each.before != gap::none && i != first) break;
      if (!bracket && i + 1 < tokens.size() && tokens[i + 1].before != gap::none) break;
      continue;
    }
    if (each.kind == token_kind::mixed) {  // "345-899-3560x4587"
      const std::string_view text = text_of(work, each);
      const std::size_t x = text.find('x');
      const bool extension = x != std::string_view::npos && run.digits + x >= phone_digits_min &&
                             text.size() - x - 1 <= extension_digits_max && text.size() - x > 2 &&
                             text.find_first_not_of("0123456789x") == std::string_view::npos;
      if (!extension) break;
      run.digits += x;
      ++run.groups;
      run.last = i;
      break;
    }
    if (each.kind != token_kind::number) break;
    const std::size_t size = each.end - each.start;
    if (run.digits + size > phone_digits_max) break;
    run.digits += size;
    ++run.groups;
    run.last = i;
  }
  for (std::size_t i = run.first; i < run.last; ++i) {
    run.plus |= tokens[i].mark == '+';
    run.brackets |= tokens[i].mark == ')';
  }
  return run;
}

// What people write as telephone numbers and little else: at least two groups, none of one digit
// but a country code.
bool looks_like_phone(const workspace& work, const candidate& run) {
  if (run.digits < 7) return false;
  if (run.plus || run.brackets) return true;
  if (text_of(work, work.tokens[run.last]) == "000") return false;  // "10 000 000"
  if (run.groups < 2 || run.groups > groups_max) return false;
  std::size_t short_groups = 0;
  std::size_t shortest = phone_digits_max;
  for (std::size_t i = run.first; i <= run.last; ++i) {
    if (work.tokens[i].kind != token_kind::number) continue;
    const std::size_t size = work.tokens[i].end - work.tokens[i].start;
    shortest = std::min(shortest, size);
    short_groups += size < 2;
  }
  if (run.groups == 2) return shortest >= 3 && run.digits <= 11 && run.digits != 8;
  return short_groups <= 1;
}

}  // namespace

phones::phones(std::vector<std::string> regions) : regions_(std::move(regions)) {
  std::set<std::string> known;
  PhoneNumberUtil::GetInstance()->GetSupportedRegions(&known);
  for (const auto& region : regions_) {
    if (!known.contains(region))
      throw std::invalid_argument("phone_regions: unknown region " + region);
  }
}

bool phones::confirmed(std::string_view text) const {
  const PhoneNumberUtil& util = *PhoneNumberUtil::GetInstance();
  const std::string number(text);
  PhoneNumber parsed;
  const bool international = text.find('+') != std::string_view::npos;
  if (international) {
    return util.Parse(number, "ZZ", &parsed) == PhoneNumberUtil::NO_PARSING_ERROR &&
           util.IsPossibleNumber(parsed);
  }
  return std::any_of(regions_.begin(), regions_.end(), [&](const std::string& region) {
    return util.Parse(number, region, &parsed) == PhoneNumberUtil::NO_PARSING_ERROR &&
           util.IsValidNumberForRegion(parsed, region);
  });
}

void phones::find(workspace& work) const {
  if (work.traits.numeric_bytes < phone_digits_min) return;
  const auto& tokens = work.tokens;
  std::size_t confirmations = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const token& each = tokens[i];
    const bool opens = each.kind == token_kind::number || each.kind == token_kind::mixed ||
                       each.mark == '+' || each.mark == '(';
    if (!opens || each.claimed()) continue;
    const candidate run = longest_run(work, i);
    if (run.digits < phone_digits_min) continue;
    const std::string_view text =
        work.text.substr(tokens[run.first].start, tokens[run.last].end - tokens[run.first].start);
    const bool cued = cue_before(work, i, phone_cue, 5);
    // "224 4966 Bond Street": two house numbers.
    const bool street_follows =
        run.groups == 2 && !run.plus && !run.brackets && run.last + 1 < tokens.size() &&
        tokens[run.last + 1].before == gap::space && tokens[run.last + 1].capitalised &&
        tokens[run.last].before == gap::space;
    const bool shaped = looks_like_phone(work, run) && !street_follows;
    // Bare digits need libphonenumber or a cue; grouped ones are telephone numbers even where its
    // metadata knows no such range, since an unconfirmed number may still be somebody's.
    const bool long_enough = run.digits >= 9 && run.groups <= groups_max;
    if (shaped || cued ||
        (long_enough && (confirmations++ >= confirmations_max || confirmed(text)))) {
      claim(work, run.first, run.last, identifier_type::phone_number, shaped && !cued ? .6F : .9F);
    }
    i = run.last;
  }
}

}  // namespace sonder::anonymizer
