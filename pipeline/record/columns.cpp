#include "record/columns.h"

namespace sonder {

namespace {

void add_flat(column& c, std::vector<column*>& to) {
  to.push_back(&c);
  for (std::size_t i = 0; i < c.children(); ++i) add_flat(c.child(i), to);
}

}  // namespace

columns::columns(std::span<const field> of) : fields_(of.begin(), of.end()) {
  top_.reserve(fields_.size());
  for (const field& f : fields_) top_.emplace_back(f);
  for (column& c : top_) add_flat(c, flat_);
}

std::ptrdiff_t columns::find(std::string_view name) const noexcept {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].name == name) return static_cast<std::ptrdiff_t>(i);
  }
  return -1;
}

void columns::clear() noexcept {
  for (column& c : top_) c.clear();
}

void columns::truncate(std::int64_t length) noexcept {
  for (column& c : top_) c.truncate(length);
}

std::size_t columns::bytes_held() const noexcept {
  std::size_t bytes = 0;
  for (const column& c : top_) bytes += c.bytes_held();
  return bytes;
}

}  // namespace sonder
