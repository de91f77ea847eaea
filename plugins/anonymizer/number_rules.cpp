#include <algorithm>
#include <array>
#include <stdexcept>

#include "checks.h"
#include "rules.h"
#include "text/characters.h"

namespace sonder::anonymizer {
namespace {

namespace ascii = text::ascii;

constexpr std::size_t form_tokens_max = 17;  // a date with its time has 11, an IBAN in groups 9
constexpr std::size_t form_bytes_max = 48;
constexpr std::size_t form_digits_min = 4;
constexpr std::size_t form_word_bytes_max = 4;  // of letters alone inside a form
constexpr std::size_t cue_reach = 6;            // words

enum class need : std::uint8_t { nothing, cue, date };

struct form {
  const char* pattern;
  identifier_type type;
  bool (*valid)(
      std::string_view);  ///< of digits and upper-case letters alone; null: the form suffices
  need needs;
  std::uint64_t cues = 0;  ///< one of these words must stand before it, for need::cue
};

bool us_date_valid(std::string_view digits) {
  const int first = (digits[0] - '0') * 10 + digits[1] - '0';
  const int second = (digits[2] - '0') * 10 + digits[3] - '0';
  return day_exists(first, second) || day_exists(second, first);
}
bool iso_date_valid(std::string_view digits) {
  return day_exists((digits[4] - '0') * 10 + digits[5] - '0',
                    (digits[6] - '0') * 10 + digits[7] - '0');
}

// In the order of priority: forms with a check first, then those that need a word beside them. No
// flags: forms are tried on the bytes of a run of numbers, whole, with one space between its parts.
// Groups of a number with a check may have a dot or hyphen between them whoever writes it: the
// check decides.
constexpr form forms[] = {
    {"[A-Za-z]{2}[0-9]{2}(?:[ .-]?[A-Za-z0-9]{4}){2,7}(?:[ .-]?[A-Za-z0-9]{1,4})?",
     identifier_type::iban_code, iban_valid, need::nothing},
    {"[A-Za-z]{2}[0-9]{2}[A-Za-z0-9]{11,30}", identifier_type::iban_code, iban_valid,
     need::nothing},
    {"[0-9]{12,19}|[0-9]{4}[ .-][0-9]{4}[ .-][0-9]{4}[ .-][0-9]{1,7}|[0-9]{4}[ .-][0-9]{6}[ .-]"
     "[0-9]{4,5}",
     identifier_type::credit_card, card_valid, need::nothing},
    {"[A-Za-z]{6}[0-9A-Za-z]{2}[A-Za-z][0-9A-Za-z]{2}[A-Za-z][0-9A-Za-z]{3}[A-Za-z]",
     identifier_type::it_fiscal_code, it_fiscal_code_valid, need::nothing},
    {"[1-478][ .-]?[0-9]{2}[ .-]?[0-9]{2}[ .-]?[0-9][0-9AB][ .-]?[0-9]{3}[ .-]?[0-9]{3}[ .-]?"
     "[0-9]{2}",
     identifier_type::fr_nir, fr_nir_valid, need::nothing},
    {"[0-9]{2}\\.?[0-9]{3}\\.?[0-9]{3}[- ]?[A-Za-z]", identifier_type::es_nif, es_nif_valid,
     need::nothing},
    {"[XYZxyz][- ]?[0-9]{7}[- ]?[A-Za-z]", identifier_type::es_nie, es_nie_valid, need::nothing},
    {"[A-Za-z]{2}[ .-]?[0-9]{2}[ .-]?[0-9]{2}[ .-]?[0-9]{2}[ .-]?[A-Da-d]",
     identifier_type::uk_nino, uk_nino_valid, need::nothing},
    {"[0-9]{6}[-+ABCDEFYXWVU]?[0-9]{3}[0-9A-Y]", identifier_type::fi_personal_identity_code,
     nullptr, need::nothing},
    {"(?:[0-9]{2})?[0-9]{6}[-+]?[0-9]{4}", identifier_type::se_personal_number, nullptr,
     need::nothing},
    {"[0-9]{3}\\.[0-9]{3}\\.[0-9]{3}-[0-9]{2}", identifier_type::br_cpf, br_cpf_valid,
     need::nothing},
    {"[0-9]{2}\\.[0-9]{2}\\.[0-9]{2}-[0-9]{3}\\.[0-9]{2}", identifier_type::be_national_number,
     be_national_number_valid, need::nothing},
    {"[0-9]{11}", identifier_type::pl_pesel, pl_pesel_valid, need::nothing},
    {"[0-9]{11}|[0-9]{2}[ .-][0-9]{3}[ .-][0-9]{3}[ .-][0-9]{3}", identifier_type::de_tax_id,
     de_tax_id_valid, need::nothing},
    {"[0-9]{3}[ .-][0-9]{2}[ .-][0-9]{4}", identifier_type::us_ssn, us_ssn_valid, need::nothing},
    {"[0-9]{9}", identifier_type::us_ssn, us_ssn_valid, need::cue, ssn_cue},
    {"[0-9]{4}[ .-][0-9]{4}[ .-][0-9]{4}", identifier_type::in_aadhaar, in_aadhaar_valid,
     need::nothing},
    {"[0-9]{3}[ .-]?[0-9]{3}[ .-]?[0-9]{4}", identifier_type::uk_nhs, uk_nhs_valid, need::cue,
     nhs_cue},
    {"[0-9]{9}|[0-9]{4}\\.?[0-9]{2}\\.?[0-9]{3}", identifier_type::nl_bsn, nl_bsn_valid, need::cue,
     bsn_cue},
    {"[0-9]{3}[ .-]?[0-9]{3}[ .-]?[0-9]{3}", identifier_type::ca_sin, ca_sin_valid, need::cue,
     sin_cue},
    {"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ]{1,2}[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)?",
     identifier_type::date_time, iso_date_valid, need::date},
    {"[0-9]{4}[./][0-9]{1,2}[./][0-9]{1,2}", identifier_type::date_time, nullptr, need::date},
    {"[0-9]{2}[-./][0-9]{2}[-./](?:[0-9]{2}|[0-9]{4})", identifier_type::date_time, us_date_valid,
     need::date},
    {"[0-9]{1,2}[-./][0-9]{1,2}[-./](?:[0-9]{2}|(?:1[89]|20)[0-9]{2})", identifier_type::date_time,
     nullptr, need::date},
    {"[A-Za-z][0-9]{7,14}|[0-9]{7,9}|[0-9]{4}-[0-9]{2}-[0-9]{4}",
     identifier_type::us_driver_license, nullptr, need::cue, licence_cue},
};

bool may_join(const token& mark, const token& next) {
  return mark.before == gap::none && next.before == gap::none &&
         (mark.mark == '-' || mark.mark == '.' || mark.mark == '/' || mark.mark == ':' ||
          mark.mark == '+');
}

// The first token from `floor` on that a form with the number `number` may begin at: short words
// and joining marks lead to it.
std::size_t run_start(const scratch_list<token>& tokens, std::size_t floor, std::size_t number) {
  const auto leads = [&](const token& each, const token& next) {
    if (each.claimed() || next.before == gap::line_break) return false;
    return each.kind == token_kind::mark ? may_join(each, next)
                                         : each.end - each.start <= form_word_bytes_max;
  };
  std::size_t first = number;
  while (first > floor && number - first + 1 < form_tokens_max &&
         leads(tokens[first - 1], tokens[first]))
    --first;
  return first;
}

// `text` with a space for each run of white space: TAB, two spaces.
std::string_view singly_spaced(std::string_view text, std::array<char, form_bytes_max>& room) {
  std::size_t size = 0;
  for (const char c : text.substr(0, room.size())) {
    const bool space = ascii::is(c, ascii::space);
    if (!space || size == 0 || room[size - 1] != ' ') room[size++] = space ? ' ' : c;
  }
  return {room.data(), size};
}

// Digits and letters of `text`, the letters in upper case, in `work.scratch`.
std::string_view compact(workspace& work, std::string_view text) {
  work.scratch.clear();
  for (const char c : text) {
    if (ascii::is(c, ascii::letter | ascii::digit)) work.scratch.push_back(ascii::to_upper(c));
  }
  return work.scratch;
}

// Whether [first, last] has more single digits than any form: "1 2 3 4 5". Keeps long runs of them
// from being tried in full.
bool too_sparse(const scratch_list<token>& tokens, std::size_t first, std::size_t last) {
  std::size_t groups = 0;
  std::size_t size = 0;
  for (std::size_t i = first; i <= last; ++i) {
    if (tokens[i].kind == token_kind::mark) continue;
    ++groups;
    size += tokens[i].end - tokens[i].start;
  }
  return groups > 3 && size + 1 < 2 * groups;
}

// Finland's and Sweden's codes have a sign between the date and the number that is not part of the
// check.
bool birth_number_valid(identifier_type type, std::string_view text, std::string_view compacted) {
  if (type == identifier_type::fi_personal_identity_code) {
    if (text.size() != 11) return false;
    std::array<char, 10> code{};
    text.copy(code.data(), 6);
    text.copy(code.data() + 6, 4, 7);
    return fi_personal_identity_code_valid({code.data(), code.size()});
  }
  // Without a sign ten digits are more often something else.
  if (text.find_first_of("-+") == std::string_view::npos && text.size() != 12) return false;
  return se_personal_number_valid(compacted.substr(compacted.size() - 10));
}

}  // namespace

numbers::numbers(date_rule dates)
    : forms_(std::make_unique<RE2::Set>(RE2::Options(RE2::Latin1), RE2::ANCHOR_BOTH)),
      dates_(dates) {
  for (const form& each : forms) {
    std::string error;
    if (forms_->Add(each.pattern, &error) < 0) throw std::logic_error("anonymizer: form: " + error);
  }
  if (!forms_->Compile()) throw std::runtime_error("anonymizer: RE2::Set ran out of memory");
}

bool numbers::find_form(workspace& work, std::size_t first, std::size_t last,
                        bool single_spaces) const {
  const std::uint32_t start = work.tokens[first].start;
  std::array<char, form_bytes_max> room;
  const std::string_view written = work.text.substr(start, work.tokens[last].end - start);
  const std::string_view text = single_spaces ? written : singly_spaced(written, room);
  RE2::Set::ErrorInfo refused{};
  work.shapes.clear();
  if (!forms_->Match({text.data(), text.size()}, &work.shapes, &refused)) {
    // Out of memory looks like no match: nothing may pass for free of identifiers because of it.
    if (refused.kind == RE2::Set::kNoError) return false;
    throw std::runtime_error("anonymizer: RE2::Set could not match");
  }
  std::sort(work.shapes.begin(), work.shapes.end());
  const std::string_view compacted = compact(work, text);
  for (const int index : work.shapes) {
    const form& each = forms[static_cast<std::size_t>(index)];
    bool valid = each.valid == nullptr || each.valid(compacted);
    if (each.type == identifier_type::fi_personal_identity_code ||
        each.type == identifier_type::se_personal_number) {
      valid = birth_number_valid(each.type, text, compacted);
    }
    if (valid && each.type == identifier_type::credit_card)
      valid = start == 0 || work.text[start - 1] != '+';
    if (valid && each.needs == need::cue) valid = cue_before(work, first, each.cues, cue_reach);
    if (valid && each.needs == need::date && dates_ == date_rule::birth) {
      valid = cue_before(work, first, birth_cue, cue_reach);
    }
    if (!valid) continue;
    claim(work, first, last, each.type, each.needs == need::cue ? .7F : 1);
    return true;
  }
  return false;
}

std::size_t numbers::find_from(workspace& work, std::size_t first) const {
  const scratch_list<token>& tokens = work.tokens;
  const token& start = tokens[first];
  const bool short_word = start.kind == token_kind::word && start.end - start.start <= 2;
  if (start.claimed() || start.kind == token_kind::mark ||
      (start.kind == token_kind::word && !short_word))
    return first;
  const bool inside =
      first > 1 && start.before == gap::none && tokens[first - 1].kind == token_kind::mark &&
      may_join(tokens[first - 1], start) && tokens[first - 2].kind == token_kind::number;
  if (inside) return first;
  // The longest run of numbers, codes and joining marks from here; spaces may stand between
  // its parts.
  std::size_t last = first;
  std::size_t digits = 0;
  bool single_spaces = true;
  for (std::size_t i = first; i < tokens.size() && i - first < form_tokens_max; ++i) {
    const token& each = tokens[i];
    if (each.claimed() || (i > first && each.before == gap::line_break) ||
        each.end - start.start > form_bytes_max)
      break;
    if (i > first && each.before == gap::space)
      single_spaces &= each.start == tokens[i - 1].end + 1 && work.text[each.start - 1] == ' ';
    if (each.kind == token_kind::mark) {
      if (i + 1 >= tokens.size() || !may_join(each, tokens[i + 1])) break;
      continue;
    }
    if (each.kind == token_kind::word &&
        each.end - each.start > (i == first ? 2 : form_word_bytes_max))
      break;
    last = i;
    if (each.kind == token_kind::number) digits += each.end - each.start;
    if (each.kind == token_kind::mixed) digits += each.end - each.start - 2;
  }
  if (digits < form_digits_min) return first;
  for (std::size_t end = last + 1; end-- > first;) {
    if (tokens[end].kind == token_kind::mark || too_sparse(tokens, first, end)) continue;
    if (tokens[end].end - start.start < 6) break;
    if (end + 2 < tokens.size() && tokens[end + 1].kind == token_kind::mark &&
        may_join(tokens[end + 1], tokens[end + 2]) && tokens[end + 2].kind == token_kind::number) {
      continue;  // part of something longer: "60-56-85" in "60-56-85-91"
    }
    if (find_form(work, first, end, single_spaces)) return end;
  }
  return first;
}

void numbers::find(workspace& work) const {
  if (work.traits.numeric_bytes < form_digits_min) return;
  std::size_t first = 0;
  for (const std::size_t number : work.numerics) {
    if (number < first || work.tokens[number].claimed()) continue;
    for (first = run_start(work.tokens, first, number); first <= number; ++first)
      first = find_from(work, first);
  }
}

}  // namespace sonder::anonymizer
