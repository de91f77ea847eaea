#include <numeric>

#include "log/group.h"

namespace sonder {
namespace {

class sole_member final : public group_member {
 public:
  explicit sole_member(std::int32_t partitions) : partitions_(partitions) {}

  result<group_event> poll() override {
    if (assigned_) return group_event{};
    assigned_ = true;
    group_event event{group_event::kind::assigned, {}, "alone with its log"};
    event.partitions.resize(static_cast<std::size_t>(partitions_));
    std::iota(event.partitions.begin(), event.partitions.end(), 0);
    return event;
  }
  status release() override { return {}; }
  result<bool> ready(std::int32_t) override { return true; }
  status restart() override { return {}; }
  std::string waits_for() const override { return {}; }

 private:
  std::int32_t partitions_;
  bool assigned_ = false;
};

}  // namespace

std::unique_ptr<group_member> make_sole_member(std::int32_t partitions) {
  return std::make_unique<sole_member>(partitions);
}

}  // namespace sonder
