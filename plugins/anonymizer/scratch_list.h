#pragma once

#include <cstddef>
#include <vector>

namespace sonder::anonymizer {

/// A list that is written in place and keeps its memory, all of it constructed once: what a text
/// takes of it is overwritten and never cleared. Not shared.
template <class T>
class scratch_list {
 public:
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] T& operator[](std::size_t at) noexcept { return room_[at]; }
  [[nodiscard]] const T& operator[](std::size_t at) const noexcept { return room_[at]; }
  [[nodiscard]] T* begin() noexcept { return room_.data(); }
  [[nodiscard]] T* end() noexcept { return room_.data() + size_; }
  [[nodiscard]] const T* begin() const noexcept { return room_.data(); }
  [[nodiscard]] const T* end() const noexcept { return room_.data() + size_; }

  void clear() noexcept { size_ = 0; }
  void push_back(const T& value) {
    *room_for(1) = value;
    ++size_;
  }
  /// Where the next `count` may be written; they belong to the list once `resize` says so.
  [[nodiscard]] T* room_for(std::size_t count) {
    if (room_.size() < size_ + count) [[unlikely]]
      room_.resize(2 * (size_ + count));
    return room_.data() + size_;
  }
  /// To at most what there is room for.
  void resize(std::size_t size) noexcept { size_ = size; }

 private:
  std::vector<T> room_;
  std::size_t size_ = 0;
};

}  // namespace sonder::anonymizer
