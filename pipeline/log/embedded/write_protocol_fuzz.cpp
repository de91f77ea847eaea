#include <cstdlib>
#include <cstring>

#include "log/embedded/write_protocol.h"

// Any request is refused or understood; what is understood reads the same once written again.
// Batches inside get a right checksum when the first byte says so, so that what lies behind it is
// reached.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sonder;
  using namespace sonder::embedded;
  if (size == 0) return 0;
  std::vector<std::uint8_t> input(data + 1, data + size);
  constexpr std::size_t batch_at =
      2 + 4 + 2 + 1 + 4 + 4;  // one batch for a topic with a name of one byte
  if ((data[0] & 1) != 0 && input.size() >= batch_at + batch_header::bytes) {
    const std::uint32_t count = 1;
    const auto batch_bytes = static_cast<std::uint32_t>(input.size() - batch_at);
    input[0] = write_protocol_version;
    input[1] = 1;
    std::memcpy(&input[2], &count, 4);
    input[6] = 1;
    input[7] = 0;
    std::memcpy(&input[13], &batch_bytes, 4);
    seal_batch(std::span(input).subspan(batch_at));
  }
  auto request = parse_request(input);
  if (!request) return 0;
  if (auto* append = std::get_if<append_request>(&*request)) {
    std::vector<produced_batch> produced;
    for (auto& part : append->parts)
      produced.push_back({part.topic, part.partition, &part.records});
    const auto frame = encode_append(produced);
    if (!frame || !parse_request(as_bytes(*frame).subspan(4))) std::abort();
  } else if (const auto* create = std::get_if<create_topic_request>(&*request)) {
    const auto again = parse_request(as_bytes(encode_create_topic(create->topic)).subspan(4));
    if (!again || !(std::get<create_topic_request>(*again).topic == create->topic)) std::abort();
  } else {
    const auto& note = std::get<set_note_request>(*request);
    const auto again = parse_request(as_bytes(encode_set_note(note.name, note.value)).subspan(4));
    if (!again || std::get<set_note_request>(*again).value != note.value) std::abort();
  }
  return 0;
}
