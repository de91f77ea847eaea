#include "flow/lost_records.h"

#include "observe/log.h"

namespace sonder {

status lost_records::add(std::int64_t from, std::int64_t count) {
  if (!skips_) {
    return fail(errc::corrupt,
                to_string(topic_.at) + ": topic \"" + topic_.topic + "\", partition " + std::to_string(partition_) +
                    ": retention has removed offsets " + std::to_string(from) + " to " + std::to_string(from + count - 1) +
                    " before the flow had taken them up. `sonder reset --to earliest` begins anew with what is left; `" + option_ +
                    ": skip` goes on without them. Then make the topic's retention longer");
  }
  untaken_ += static_cast<std::uint64_t>(count);
  untold_ += count;
  const auto now = std::chrono::steady_clock::now();
  if (lines_ == nullptr || now < tell_from_) return {};
  lines_->write(log_level::warning, "retention has removed records before they were taken up; they are passed over",
                {{"topic", topic_.topic}, {"partition", static_cast<std::int64_t>(partition_)}, {"offset", from}, {"offsets_gone", untold_}});
  untold_ = 0;
  tell_from_ = now + line_interval;
  return {};
}

}  // namespace sonder
