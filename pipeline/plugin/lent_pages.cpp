#include "plugin/lent_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <new>

namespace sonder {
namespace {

/// Bytes of each buffer of an array, as far as its rows reach.
std::array<std::size_t, 3> buffer_sizes(const ArrowArray& a, const field& declared) {
  const auto rows = static_cast<std::size_t>(a.offset + a.length);
  const auto bits = (rows + 7) / 8;
  const auto validity = a.n_buffers > 0 && a.buffers[0] != nullptr ? bits : 0;
  const auto offsets =
      a.buffers != nullptr && a.n_buffers > 1 && a.buffers[1] != nullptr ? (rows + 1) * 4 : 0;
  switch (declared.type.id) {
    case type_id::null:
      return {0, 0, 0};
    case type_id::boolean:
      return {validity, bits, 0};
    case type_id::int32:
    case type_id::float32:
    case type_id::date32:
    case type_id::time_ms:
    case type_id::enumeration:
      return {validity, rows * 4, 0};
    case type_id::int64:
    case type_id::float64:
    case type_id::time_us:
    case type_id::timestamp_ms:
    case type_id::timestamp_us:
    case type_id::local_timestamp_ms:
    case type_id::local_timestamp_us:
      return {validity, rows * 8, 0};
    case type_id::fixed_binary:
      return {validity, rows * static_cast<std::size_t>(declared.type.size), 0};
    case type_id::decimal128:
      return {validity, rows * 16, 0};
    case type_id::utf8:
    case type_id::binary: {
      const auto* ends = static_cast<const std::int32_t*>(a.buffers[1]);
      return {validity, offsets, offsets == 0 ? 0 : static_cast<std::size_t>(ends[rows])};
    }
    case type_id::list:
    case type_id::map:
      return {validity, offsets, 0};
    case type_id::record:
      return {validity, 0, 0};
    case type_id::dense_union:
      return {rows, rows * 4, 0};
  }
  return {0, 0, 0};
}

const field symbol_field{"", data_type{type_id::utf8, 0, 0, {}, {}}, false};

}  // namespace

lent_pages::~lent_pages() {
  take_back();
  for (const auto& m : kept_) ::munmap(m.begin, m.size);
}

void lent_pages::open(std::size_t bytes) {
  take_back();
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto size = (std::max<std::size_t>(bytes, 1) + page - 1) / page * page;
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  open_ = {static_cast<std::uint8_t*>(at), size};
  used_ = 0;
}

void* lent_pages::copy(const void* from, std::size_t size) {
  assert(used_ + size <= open_.size);
  auto* to = open_.begin + used_;
  if (size != 0) std::memcpy(to, from, size);
  used_ += room(size);
  return to;
}

std::size_t lent_pages::room(const ArrowArray& array, const field& declared) {
  auto bytes = room(sizeof(ArrowArray)) +
               room(static_cast<std::size_t>(array.n_buffers) * sizeof(void*)) +
               room(static_cast<std::size_t>(array.n_children) * sizeof(void*));
  for (const auto size : buffer_sizes(array, declared)) bytes += room(size);
  for (std::int64_t i = 0; i < array.n_children; ++i) {
    bytes += room(*array.children[i], declared.type.fields[static_cast<std::size_t>(i)]);
  }
  if (array.dictionary != nullptr) bytes += room(*array.dictionary, symbol_field);
  return bytes;
}

const ArrowArray* lent_pages::copy(const ArrowArray& array, const field& declared) {
  return copy_struct(array, declared);
}

ArrowArray* lent_pages::copy_struct(const ArrowArray& array, const field& declared) {
  auto* made = static_cast<ArrowArray*>(copy(&array, sizeof array));
  made->private_data = nullptr;
  const auto sizes = buffer_sizes(array, declared);
  auto** buffers = static_cast<const void**>(
      copy(array.buffers, static_cast<std::size_t>(array.n_buffers) * sizeof(void*)));
  for (std::int64_t i = 0; i < array.n_buffers; ++i) {
    if (buffers[i] != nullptr)
      buffers[i] = copy(array.buffers[i], sizes[static_cast<std::size_t>(i)]);
  }
  made->buffers = buffers;
  auto** children = static_cast<ArrowArray**>(
      copy(array.children, static_cast<std::size_t>(array.n_children) * sizeof(void*)));
  for (std::int64_t i = 0; i < array.n_children; ++i) {
    children[i] =
        copy_struct(*array.children[i], declared.type.fields[static_cast<std::size_t>(i)]);
  }
  made->children = children;
  if (array.dictionary != nullptr) made->dictionary = copy_struct(*array.dictionary, symbol_field);
  return made;
}

void lent_pages::lend() {
  ::mprotect(open_.begin, open_.size, PROT_READ);
}

void lent_pages::take_back() {
  if (open_.begin == nullptr) return;
  ::mprotect(open_.begin, open_.size, PROT_NONE);
  // Inaccessible pages that were written still hold memory; only their addresses are wanted.
  ::madvise(open_.begin, open_.size, MADV_DONTNEED);
  kept_.push_back(open_);
  open_ = {};
  if (kept_.size() <= pages_kept_max) return;
  ::munmap(kept_.front().begin, kept_.front().size);
  kept_.pop_front();
}

}  // namespace sonder
