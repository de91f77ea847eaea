#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "finder.h"
#include "unicode.h"

// Any bytes: the spans are disjoint, in order, inside the text and on boundaries of code points;
// each is gone from the output, and what is outside of them is there unchanged; output of UTF-8 is
// UTF-8.
namespace {

namespace an = sonder::anonymizer;

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const an::code_point point = an::code_point_at(text, at);
    const bool surrogate = point.number >= 0xD800 && point.number < 0xE000;
    constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point.number > 0x10FFFF || surrogate || point.number < smallest[point.size]) return false;
    at += point.size;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const an::finder finder{an::finder_options{}};
  static an::workspace work;
  static std::string out;
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  finder.find(text, work);
  an::redact(work, out);
  std::size_t in_at = 0;
  std::size_t out_at = 0;
  for (const an::span& each : work.spans) {
    require(each.start >= in_at && each.start < each.end && each.end <= size);
    const std::string_view kept = text.substr(in_at, each.start - in_at);
    require(out.compare(out_at, kept.size(), kept) == 0);
    out_at += kept.size();
    const std::string_view stands_instead = an::placeholder(each.type);
    require(out.compare(out_at, stands_instead.size(), stands_instead) == 0);
    out_at += stands_instead.size();
    in_at = each.end;
  }
  require(std::string_view(out).substr(out_at) == text.substr(in_at));
  if (is_utf8(text)) require(is_utf8(out));
  return 0;
}
