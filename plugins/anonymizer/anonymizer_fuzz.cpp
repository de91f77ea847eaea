#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "finder.h"
#include "text/utf8.h"

// Any bytes: the spans are disjoint, in order, inside the text and on boundaries of code points;
// each is gone from the output, and what is outside of them is there unchanged; output of UTF-8 is
// UTF-8.
namespace {

namespace an = sonder::anonymizer;

void require(bool holds) {
  if (!holds) std::abort();
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
  if (sonder::text::first_malformed(text) == std::string_view::npos)
    require(sonder::text::first_malformed(out) == std::string_view::npos);
  return 0;
}
