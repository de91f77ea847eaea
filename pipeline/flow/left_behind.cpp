#include "flow/left_behind.h"

#include <algorithm>

namespace sonder {

result<std::vector<std::string>> stages_left_behind(log& on, const graph& flow) {
  auto stores = on.stores(flow.options.name);
  if (!stores) return tl::unexpected(stores.error());
  std::vector<std::string> left;
  for (const auto& store : *stores) {
    auto stage = store.substr(0, store.find('.'));  // no stage's name holds one
    if (store != parked_store_of(stage)) continue;
    const bool there = std::any_of(flow.stages.begin(), flow.stages.end(), [&](const auto& s) { return s.options.name == stage; });
    if (!there) left.push_back(std::move(stage));
  }
  return left;
}

left_parking::left_parking(log& on, const std::string& flow, const std::string& stage, std::int32_t partition)
    : stage_(stage), store_(on, flow, parked_store_of(stage), partition, parked_limits), rows_(store_) {}

result<std::unique_ptr<left_parking>> left_parking::open(log& on, const std::string& flow, const std::string& stage,
                                                         std::int32_t partition) {
  std::unique_ptr<left_parking> made(new left_parking(on, flow, stage, partition));
  if (auto ok = made->rows_.load(); !ok) return tl::unexpected(ok.error());
  return made;
}

result<kept_row> left_parking::read(const parked_rows::place& at, std::string& bytes) {
  if (auto ok = rows_.read(at.number, bytes); !ok) return tl::unexpected(ok.error());
  return read_row(as_bytes(bytes));
}

}  // namespace sonder
