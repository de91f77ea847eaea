#include "log/operations.h"

namespace sonder {

std::string_view name(log_figures::transaction_state of) noexcept {
  using state = log_figures::transaction_state;
  switch (of) {
    case state::idle: return "idle";
    case state::producing: return "producing";
    case state::offsets: return "offsets";
    case state::flushing: return "flushing";
    case state::committing: return "committing";
    case state::recovering: return "recovering";
    case state::count: break;
  }
  return {};
}

std::string_view name(log_figures::transaction_end of) noexcept {
  using end = log_figures::transaction_end;
  switch (of) {
    case end::committed: return "committed";
    case end::group_changed: return "group_changed";
    case end::refused: return "refused";
    case end::expired: return "expired";
    case end::unavailable: return "unavailable";
    case end::fenced: return "fenced";
    case end::failed: return "failed";
    case end::count: break;
  }
  return {};
}

std::string_view name(log_figures::rebalance_reason of) noexcept {
  using reason = log_figures::rebalance_reason;
  switch (of) {
    case reason::started: return "started";
    case reason::rejoined: return "rejoined";
    case reason::stranger: return "stranger";
    case reason::left: return "left";
    case reason::joined: return "joined";
    case reason::restarted: return "restarted";
    case reason::same_members: return "same_members";
    case reason::unknown: return "unknown";
    case reason::count: break;
  }
  return {};
}

std::string_view name(log_figures::connection of) noexcept {
  using connection = log_figures::connection;
  switch (of) {
    case connection::reader: return "reader";
    case connection::query: return "query";
    case connection::watermark: return "watermark";
    case connection::member: return "member";
    case connection::transaction: return "transaction";
    case connection::producer: return "producer";
    case connection::count: break;
  }
  return {};
}

}  // namespace sonder
