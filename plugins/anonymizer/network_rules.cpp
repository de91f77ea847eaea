#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "rules.h"
#include "text/characters.h"

namespace sonder::anonymizer {
namespace {

constexpr std::size_t address_bytes_max = 320;  // of an e-mail address (RFC 5321, 4.5.3.1)

constexpr std::size_t domain_bytes_max = 253;  // RFC 1035, 2.3.4, as written

namespace ascii = text::ascii;

bool is_alnum(char c) {
  return ascii::is(c, ascii::letter | ascii::digit);
}
bool is_local_part(char c) {
  return is_alnum(c) || (static_cast<unsigned char>(c) & 0x80) != 0 ||
         std::string_view("._%+-").find(c) != std::string_view::npos;
}
bool is_domain_part(char c) {
  return is_alnum(c) || c == '.' || c == '-' || (static_cast<unsigned char>(c) & 0x80) != 0;
}
bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}
bool ends_url(char c) {
  return static_cast<unsigned char>(c) <= ' ' ||
         std::string_view("<>\"`{}|\\^").find(c) != std::string_view::npos;
}

// Claims all tokens in bytes [start, end); false if one of them is taken. `near` is a token inside.
bool claim_bytes(workspace& work, std::size_t near, std::uint32_t start, std::uint32_t end,
                 identifier_type type, float score) {
  std::size_t first = near;
  std::size_t last = near;
  while (first > 0 && work.tokens[first - 1].end > start) --first;
  while (last + 1 < work.tokens.size() && work.tokens[last + 1].start < end) ++last;
  if (!unclaimed(work, first, last)) return false;
  claim(work, first, last, type, score);
  work.spans.back().start = start;
  work.spans.back().end = end;
  return true;
}

std::uint32_t without_trailing_marks(std::string_view text, std::uint32_t start,
                                     std::uint32_t end) {
  while (end > start &&
         std::string_view(".,;:!?'\")]").find(text[end - 1]) != std::string_view::npos)
    --end;
  return end;
}

bool find_email(workspace& work, std::size_t at) {
  const std::string_view text = work.text;
  const std::uint32_t sign = work.tokens[at].start;
  std::uint32_t start = sign;
  std::uint32_t end = sign + 1;
  while (start > 0 && sign - start < address_bytes_max && is_local_part(text[start - 1])) --start;
  while (start < sign && (text[start] == '.' || is_continuation(text[start]))) ++start;
  while (end < text.size() && end - sign < address_bytes_max && is_domain_part(text[end])) ++end;
  // The most bytes of an address may end inside of a character.
  while (end > sign + 1 && end < text.size() && is_continuation(text[end])) --end;
  while (end > sign + 1 && (text[end - 1] == '.' || text[end - 1] == '-')) --end;
  const std::string_view domain = text.substr(sign + 1, end - sign - 1);
  const std::size_t dot = domain.rfind('.');
  if (start == sign || dot == std::string_view::npos || dot == 0 || domain.size() - dot < 3)
    return false;
  return claim_bytes(work, at, start, end, identifier_type::email_address, 1);
}

bool find_username(workspace& work, std::size_t at) {
  const std::string_view text = work.text;
  const std::uint32_t sign = work.tokens[at].start;
  if (sign > 0 && is_local_part(text[sign - 1])) return false;
  std::uint32_t end = sign + 1;
  while (end < text.size() && end - sign < 64 &&
         (is_alnum(text[end]) || text[end] == '_' || text[end] == '.'))
    ++end;
  end = without_trailing_marks(text, sign, end);
  if (end - sign < 3) return false;
  return claim_bytes(work, at, sign, end, identifier_type::username, .8F);
}

bool find_url(workspace& work, std::size_t at) {
  const std::string_view text = work.text;
  const std::uint32_t start = work.tokens[at].start;
  std::uint32_t end = start;
  while (end < text.size() && !ends_url(text[end])) ++end;
  end = without_trailing_marks(text, start, end);
  return claim_bytes(work, at, start, end, identifier_type::domain_name, 1);
}

// Of bare domains only endings that are no words at the end of a sentence without its space
// ("good.so").
constexpr std::array<std::string_view, 44> endings{
    "com",  "org",  "net",  "edu",  "gov", "info",  "biz",  "dev",   "app",   "xyz", "online",
    "site", "blog", "shop", "club", "de",  "fr",    "uk",   "nl",    "pl",    "cz",  "sk",
    "dk",   "ch",   "fi",   "ru",   "br",  "jp",    "cn",   "kr",    "ca",    "au",  "nz",
    "eu",   "hu",   "ro",   "gr",   "pt",  "cloud", "tech", "store", "email", "se",  "io"};

bool find_domain(workspace& work, std::size_t at) {
  const std::string_view text = work.text;
  std::uint32_t end = work.tokens[at].start;
  const std::uint32_t start = end;
  while (end < text.size() && end - start < domain_bytes_max &&
         (is_alnum(text[end]) || text[end] == '.' || text[end] == '-'))
    ++end;
  while (end > start && !is_alnum(text[end - 1])) --end;
  const std::string_view domain = text.substr(start, end - start);
  const std::size_t dot = domain.rfind('.');
  if (dot == std::string_view::npos || dot < 2 || domain.find("..") != std::string_view::npos)
    return false;
  std::array<char, 8> lower{};
  const std::string_view ending = domain.substr(dot + 1);
  if (ending.size() >= lower.size()) return false;
  std::transform(ending.begin(), ending.end(), lower.begin(), ascii::to_lower);
  if (std::find(endings.begin(), endings.end(), std::string_view(lower.data(), ending.size())) ==
      endings.end()) {
    return false;
  }
  if (end < text.size() && text[end] == '/') {
    while (end < text.size() && !ends_url(text[end])) ++end;
    end = without_trailing_marks(text, start, end);
  }
  return claim_bytes(work, at, start, end, identifier_type::domain_name, .9F);
}

bool find_ip(workspace& work, std::size_t at) {
  const std::string_view text = work.text;
  const std::uint32_t start = work.tokens[at].start;
  std::uint32_t end = start;
  std::size_t dots = 0;
  std::size_t colons = 0;
  std::array<char, INET6_ADDRSTRLEN> address{};
  const auto is_hex = [](char c) {
    return ascii::is(c, ascii::digit) || (ascii::is(c, ascii::letter) && ascii::to_lower(c) <= 'f');
  };
  while (end < text.size() && end - start < address.size() - 1 &&
         (is_hex(text[end]) || text[end] == '.' || text[end] == ':')) {
    dots += text[end] == '.';
    colons += text[end] == ':';
    ++end;
  }
  while (end > start && text[end - 1] == '.') --end, --dots;
  if (end > start + 1 && text[end - 1] == ':' && text[end - 2] != ':') --end, --colons;
  if (end < text.size() && is_alnum(text[end])) return false;
  if (start > 1 && text[start - 1] == '.' && is_alnum(text[start - 2]))
    return false;  // "01.84.17.61.18"
  text.copy(address.data(), end - start, start);
  std::array<unsigned char, 16> bytes{};
  if (colons >= 2 ? inet_pton(AF_INET6, address.data(), bytes.data()) != 1 || end - start < 3
                  : dots != 3 || inet_pton(AF_INET, address.data(), bytes.data()) != 1) {
    return false;
  }
  return claim_bytes(work, at, start, end, identifier_type::ip_address, 1);
}

bool is_scheme(const workspace& work, std::size_t at) {
  const std::string_view rest = work.text.substr(work.tokens[at].end);
  if (!rest.starts_with(':')) return false;
  return rest.starts_with("://") && rest.size() > 3 && !ends_url(rest[3]);
}

bool is_www(const workspace& work, const token& word) {
  const std::string_view text = text_of(work, word);
  const bool www = text.size() == 3 && std::all_of(text.begin(), text.end(), [](char c) {
                     return ascii::to_lower(c) == 'w';
                   });
  return www && word.end + 1 < work.text.size() && work.text[word.end] == '.' &&
         is_alnum(work.text[word.end + 1]);
}

// Whether text goes on after the dot or colon behind `word`, without a space.
bool joined_by_mark(const workspace& work, std::size_t at) {
  if (at + 2 >= work.tokens.size()) return false;
  const token& mark = work.tokens[at + 1];
  return (mark.mark == '.' || mark.mark == ':' || mark.mark == '-') && mark.before == gap::none &&
         work.tokens[at + 2].before == gap::none;
}

}  // namespace

void find_network(workspace& work) {
  if (!work.traits.has_at && !work.traits.has_dot_inside) return;
  if (work.traits.has_at) {
    for (std::size_t i = 0; i < work.tokens.size(); ++i) {
      if (work.tokens[i].mark != '@' || work.tokens[i].claimed()) continue;
      if (!find_email(work, i)) find_username(work, i);
    }
  }
  for (std::size_t i = 0; i + 1 < work.tokens.size(); ++i) {
    const token& each = work.tokens[i];
    const char mark = each.kind == token_kind::mark ? each.mark : work.tokens[i + 1].mark;
    // What is looked for here has a colon of its own or a joining mark behind its first word.
    if ((mark != ':' && mark != '.' && mark != '-') || each.claimed()) continue;
    if (each.kind == token_kind::mark) {
      const bool opens = each.mark == ':' && each.end < work.text.size() &&
                         work.text[each.end] == ':' &&
                         (each.start == 0 || !is_local_part(work.text[each.start - 1]));
      if (opens) find_ip(work, i);
      continue;
    }
    if (each.kind != token_kind::number && (is_scheme(work, i) || is_www(work, each))) {
      find_url(work, i);
      continue;
    }
    if (!joined_by_mark(work, i)) continue;
    const bool begins =
        i == 0 || each.before != gap::none ||
        (work.tokens[i - 1].kind == token_kind::mark &&
         std::string_view(".-:").find(work.tokens[i - 1].mark) == std::string_view::npos);
    if (begins && !find_ip(work, i) && work.text[each.end] != ':') find_domain(work, i);
  }
}

}  // namespace sonder::anonymizer
