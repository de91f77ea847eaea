// The plugin's own test, with the testing host and no test framework: exit status 0 if all is as it
// should be.
#include <cstdio>

#include "sonder/testing/host.h"

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "word_count: %s\n", what);
  ++failures;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  using namespace sonder::testing;
  try {
    host h(argv[1]);
    const auto done =
        h.process("texts", {R"({"text":"two  words"})", R"({"text":" "})", R"({"text":"one"})"});
    expect(done.ok(), done.message.c_str());
    expect(done.ok() && done.rows[0].columns == R"({"words":2})", "counts words");
    expect(done.ok() && done.rows[1].what == verdict::drop && done.rows[1].reason == "empty",
           "drops empty texts");
    expect(h.metric("sonder_word_count_words_total") == 3, "adds up its metric");
    expect(h.arrays_not_released() == 0 && h.violations().empty(), "keeps the contract");

    host keeping(argv[1], {.config_json = R"({"keep_empty": true})"});
    expect(keeping.process("texts", {R"({"text":""})"}).rows[0].columns == R"({"words":0})",
           "keeps empty texts on request");
  } catch (const refused& e) {
    std::fprintf(stderr, "word_count: refused: %s\n", e.what());
    return 1;
  }
  return failures == 0 ? 0 : 1;
}
