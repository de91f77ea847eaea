// sonder/plugin_columns.hpp: columns of a call, read and built. Part of sonder/plugin.hpp.
//
// READERS are views over the Arrow arrays that the host lends: copy them freely, inside the call.
// Rows count from 0. A value under a null is unspecified (the host writes zeros): ask `is_null`
// where the read is nullable.
//
// BUILDERS make the columns of a plugin's writes and emitted rows:
//
//   column<build::map<build::float64>> emotions_;       // a member of the instance
//   ...
//   auto& emotions = emotions_.start();                 // in process(): empty, with the memory of
//   an earlier batch for each row { emotions.entry("joy").append(0.7); emotions.close(); }
//   out.set(write_emotions, emotions_);                 // hands it over; the memory comes back
//   when the host releases it
//
// A column that the host still holds outlives the instance that made it. Not thread-safe, but for
// release, which any thread may call. At most 2^31-1 bytes or entries a column: `append` throws
// std::length_error beyond.
#ifndef SONDER_PLUGIN_COLUMNS_HPP
#define SONDER_PLUGIN_COLUMNS_HPP

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "sonder/arrow_c.h"

namespace sonder::plugin {

using bytes_view = std::span<const std::uint8_t>;

[[nodiscard]] inline bytes_view as_bytes(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
[[nodiscard]] inline std::string_view as_text(bytes_view b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

/// The plugin asks for what its manifest does not declare: a defect of the plugin, answered as
/// FATAL.
class contract_error : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// ---- Readers
// ---------------------------------------------------------------------------------------------------------

/// A column of any type.
class column_view {
 public:
  column_view() = default;  ///< no rows
  column_view(const ArrowArray& array, const ArrowSchema& schema, std::int64_t offset_of_parent = 0)
      : array_(&array), schema_(&schema), offset_(array.offset + offset_of_parent) {}

  [[nodiscard]] std::string_view format() const {
    return schema_ == nullptr ? "" : schema_->format;
  }
  [[nodiscard]] std::string_view name() const {
    return schema_ == nullptr || schema_->name == nullptr ? "" : schema_->name;
  }
  [[nodiscard]] std::int64_t length() const { return array_ == nullptr ? 0 : array_->length; }
  [[nodiscard]] std::size_t children() const {
    return schema_ == nullptr ? 0 : static_cast<std::size_t>(schema_->n_children);
  }

  [[nodiscard]] bool is_null(std::int64_t row) const {
    if (array_ == nullptr || format() == "n") return true;
    if (array_->null_count == 0 || array_->n_buffers == 0 || format().starts_with("+u"))
      return false;
    const auto* bits = static_cast<const std::uint8_t*>(array_->buffers[0]);
    const auto i = row + offset_;
    return bits != nullptr && ((bits[i >> 3] >> (i & 7)) & 1) == 0;
  }

  /// The i-th child, in its own rows: of a record, row r of the child is row r of the record.
  [[nodiscard]] column_view child(std::size_t i) const {
    if (i >= children())
      throw contract_error("no such read or child: its index is beyond the manifest's");
    const auto of_parent = format() == "+s" ? offset_ : 0;
    return {*array_->children[i], *schema_->children[i], of_parent};
  }

  /// The first value of buffer `i` of this view's rows. For the typed views and for what they do
  /// not cover.
  template <class T>
  [[nodiscard]] const T* buffer(std::size_t i) const {
    return static_cast<const T*>(array_->buffers[i]) + offset_;
  }
  [[nodiscard]] const void* raw_buffer(std::size_t i) const { return array_->buffers[i]; }
  [[nodiscard]] std::int64_t offset() const { return offset_; }
  [[nodiscard]] const ArrowArray* array() const { return array_; }
  [[nodiscard]] const ArrowSchema* schema() const { return schema_; }

 protected:
  void expect(bool matches, const char* wanted) const {
    if (!matches) {
      throw contract_error("column \"" + std::string(name()) + "\" has Arrow format \"" +
                           std::string(format()) + "\", asked for as " + wanted);
    }
  }

  const ArrowArray* array_ = nullptr;
  const ArrowSchema* schema_ = nullptr;
  std::int64_t offset_ = 0;
};

namespace detail {

template <class View>
class bytes_column : public column_view {
 public:
  bytes_column() = default;

  [[nodiscard]] View operator[](std::int64_t row) const {
    const auto begin = offsets_[row];
    return View(bytes_ + begin, static_cast<std::size_t>(offsets_[row + 1] - begin));
  }

 protected:
  using byte = std::remove_pointer_t<decltype(std::declval<View>().data())>;
  explicit bytes_column(column_view of) : column_view(of) {}
  void find() {
    offsets_ = buffer<std::int32_t>(1);
    bytes_ = static_cast<byte*>(raw_buffer(2));
  }
  const std::int32_t* offsets_ = nullptr;
  byte* bytes_ = nullptr;
};

/// The name of a type in messages, and whether an Arrow format is one of its.
template <class T>
struct fixed;
template <>
struct fixed<std::int32_t> {
  static constexpr const char* name = "int32";
  static bool matches(std::string_view f) { return f == "i" || f == "tdD" || f == "ttm"; }
};
template <>
struct fixed<std::int64_t> {
  static constexpr const char* name = "int64";
  static bool matches(std::string_view f) { return f == "l" || f == "ttu" || f.starts_with("ts"); }
};
template <>
struct fixed<float> {
  static constexpr const char* name = "float32";
  static bool matches(std::string_view f) { return f == "f"; }
};
template <>
struct fixed<double> {
  static constexpr const char* name = "float64";
  static bool matches(std::string_view f) { return f == "g"; }
};

}  // namespace detail

class text_column : public detail::bytes_column<std::string_view> {
 public:
  text_column() = default;
  explicit text_column(column_view of) : bytes_column(of) {
    expect(format() == "u", "text");
    find();
  }
};

class binary_column : public detail::bytes_column<bytes_view> {
 public:
  binary_column() = default;
  explicit binary_column(column_view of) : bytes_column(of) {
    expect(format() == "z" || format() == "u", "binary");
    find();
  }
  /// Of a reserved column, which comes without a schema.
  static binary_column of_reserved(const ArrowArray* array) {
    static constexpr ArrowSchema schema{"z",     "",      nullptr, ARROW_FLAG_NULLABLE, 0, nullptr,
                                        nullptr, nullptr, nullptr};
    return array == nullptr ? binary_column() : binary_column(column_view(*array, schema));
  }
};

template <class T>
class fixed_column : public column_view {
 public:
  fixed_column() = default;
  explicit fixed_column(column_view of) : column_view(of) {
    expect(detail::fixed<T>::matches(format()), detail::fixed<T>::name);
    values_ = buffer<T>(1);
  }
  [[nodiscard]] T operator[](std::int64_t row) const { return values_[row]; }
  [[nodiscard]] std::span<const T> values() const {
    return {values_, static_cast<std::size_t>(length())};
  }

 private:
  const T* values_ = nullptr;
};
using int32_column = fixed_column<std::int32_t>;  ///< int, date, time-millis
using int64_column = fixed_column<std::int64_t>;  ///< long, timestamps, time-micros
using float32_column = fixed_column<float>;
using float64_column = fixed_column<double>;

class bool_column : public column_view {
 public:
  bool_column() = default;
  explicit bool_column(column_view of) : column_view(of) { expect(format() == "b", "boolean"); }
  [[nodiscard]] bool operator[](std::int64_t row) const {
    const auto i = row + offset_;
    return ((static_cast<const std::uint8_t*>(array_->buffers[1])[i >> 3] >> (i & 7)) & 1) != 0;
  }
};

/// An Avro enum: an index per row into the symbols of the declared type.
class enum_column : public column_view {
 public:
  enum_column() = default;
  explicit enum_column(column_view of) : column_view(of) {
    expect(format() == "i" && schema_->dictionary != nullptr, "enum");
    indices_ = buffer<std::int32_t>(1);
    symbols_ = text_column(column_view(*array_->dictionary, *schema_->dictionary));
  }
  [[nodiscard]] std::int32_t index(std::int64_t row) const { return indices_[row]; }
  [[nodiscard]] std::string_view operator[](std::int64_t row) const {
    return symbols_[indices_[row]];
  }
  [[nodiscard]] const text_column& symbols() const { return symbols_; }

 private:
  const std::int32_t* indices_ = nullptr;
  text_column symbols_;
};

/// Rows [begin, end) of a child column.
struct row_range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  [[nodiscard]] std::int64_t size() const { return end - begin; }
};

class list_column : public column_view {
 public:
  list_column() = default;
  explicit list_column(column_view of) : list_column(of, "+l", "list") {}
  [[nodiscard]] row_range operator[](std::int64_t row) const {
    return {offsets_[row], offsets_[row + 1]};
  }
  /// All entries of all rows, one after another: `text_column(list.values())`.
  [[nodiscard]] column_view values() const { return child(0); }

 protected:
  list_column(column_view of, std::string_view wanted, const char* called) : column_view(of) {
    expect(format() == wanted, called);
    offsets_ = buffer<std::int32_t>(1);
  }
  const std::int32_t* offsets_ = nullptr;
};

class map_column : public list_column {
 public:
  map_column() = default;
  explicit map_column(column_view of) : list_column(of, "+m", "map") {}
  [[nodiscard]] text_column keys() const { return text_column(child(0).child(0)); }
  [[nodiscard]] column_view values() const { return child(0).child(1); }
};

class record_column : public column_view {
 public:
  record_column() = default;
  explicit record_column(column_view of) : column_view(of) { expect(format() == "+s", "record"); }
  /// The field of that name; `contract_error` if there is none.
  [[nodiscard]] column_view field(std::string_view wanted) const {
    for (std::size_t i = 0; i < children(); ++i) {
      if (auto c = child(i); c.name() == wanted) return c;
    }
    throw contract_error("record \"" + std::string(name()) + "\" has no field \"" +
                         std::string(wanted) + "\"");
  }
};

class union_column : public column_view {
 public:
  union_column() = default;
  explicit union_column(column_view of) : column_view(of) {
    expect(format().starts_with("+ud"), "dense union");
    branches_ = buffer<std::int8_t>(0);
    rows_ = buffer<std::int32_t>(1);
  }
  /// The child that holds the row, and which row of it.
  [[nodiscard]] std::size_t branch(std::int64_t row) const {
    return static_cast<std::size_t>(branches_[row]);
  }
  [[nodiscard]] std::int64_t row_of_branch(std::int64_t row) const { return rows_[row]; }

 private:
  const std::int8_t* branches_ = nullptr;
  const std::int32_t* rows_ = nullptr;
};

/// The reserved column `headers`: for each row, names with binary values (which may be null).
class header_column {
 public:
  header_column() = default;
  explicit header_column(const ArrowArray* array) : array_(array) {}
  [[nodiscard]] row_range operator[](std::int64_t row) const {
    if (array_ == nullptr) return {};
    const auto* offsets = static_cast<const std::int32_t*>(array_->buffers[1]) + array_->offset;
    return {offsets[row], offsets[row + 1]};
  }
  [[nodiscard]] std::string_view name(std::int64_t entry) const {
    return as_text(binary_column::of_reserved(entries().children[0])[entry + entries().offset]);
  }
  [[nodiscard]] bytes_view value(std::int64_t entry) const {
    return binary_column::of_reserved(entries().children[1])[entry + entries().offset];
  }

 private:
  [[nodiscard]] const ArrowArray& entries() const { return *array_->children[0]; }
  const ArrowArray* array_ = nullptr;
};

// ---- Builders
// --------------------------------------------------------------------------------------------------------

namespace build {

inline constexpr std::size_t entries_max = std::numeric_limits<std::int32_t>::max();

/// What an export needs: the callback and the owner that every array of one column shares.
struct export_to {
  void (*release)(ArrowArray*);
  void* owner;
  std::atomic<std::int32_t>* arrays_held;
};

/// What all builders have: rows, and a validity bitmap that exists only once there is a null.
class base {
 public:
  [[nodiscard]] std::int64_t length() const { return length_; }

 protected:
  void row_valid() {
    if (!validity_.empty()) push_bit(validity_, length_, true);
    ++length_;
  }
  void row_null() {
    if (validity_.empty()) validity_.assign(static_cast<std::size_t>(length_ / 8 + 1), 0xFF);
    push_bit(validity_, length_, false);
    ++nulls_;
    ++length_;
  }
  static void push_bit(std::vector<std::uint8_t>& bits, std::int64_t i, bool value) {
    const auto byte = static_cast<std::size_t>(i >> 3);
    if (bits.size() <= byte) bits.resize(byte + 1);
    const auto mask = static_cast<std::uint8_t>(1U << (i & 7));
    bits[byte] = static_cast<std::uint8_t>(value ? bits[byte] | mask : bits[byte] & ~mask);
  }
  void clear_rows() {
    validity_.clear();
    length_ = 0;
    nulls_ = 0;
  }
  void fill(ArrowArray& out, const export_to& to, std::int64_t buffers, ArrowArray** children,
            std::int64_t count) {
    buffers_[0] = nulls_ == 0 ? nullptr : validity_.data();
    out = ArrowArray{length_,         nulls_,   0,       buffers,    count,
                     buffers_.data(), children, nullptr, to.release, to.owner};
    to.arrays_held->fetch_add(1, std::memory_order_relaxed);
  }
  /// A buffer's address, never null: an empty vector may have none, and Arrow wants one.
  template <class T>
  static const void* address(const std::vector<T>& v) {
    static constexpr std::int64_t nothing = 0;
    return v.data() != nullptr ? static_cast<const void*>(v.data()) : &nothing;
  }

  std::vector<std::uint8_t> validity_;
  std::int64_t length_ = 0;
  std::int64_t nulls_ = 0;
  std::array<const void*, 3> buffers_{};
};

/// Offsets that start with 0 and end every row where the values end.
class offsets {
 public:
  void close(std::size_t end) {
    if (end > entries_max)
      throw std::length_error("a column holds at most 2^31-1 bytes or entries");
    if (ends_.empty()) ends_.push_back(0);
    ends_.push_back(static_cast<std::int32_t>(end));
  }
  void clear() { ends_.clear(); }
  [[nodiscard]] const void* data() {
    if (ends_.empty()) ends_.push_back(0);
    return ends_.data();
  }
  [[nodiscard]] std::size_t bytes_held() const { return ends_.capacity() * sizeof(std::int32_t); }

 private:
  std::vector<std::int32_t> ends_;
};

template <class View>
class bytes : public base {
 public:
  void append(View value) {
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    end_row();
  }
  /// A row made of pieces: `put` any number of times, then `end_row`.
  void put(View piece) { bytes_.insert(bytes_.end(), piece.begin(), piece.end()); }
  void end_row() {
    offsets_.close(bytes_.size());
    row_valid();
  }
  void append_null() {
    offsets_.close(bytes_.size());
    row_null();
  }
  void clear() {
    clear_rows();
    offsets_.clear();
    bytes_.clear();
  }
  void reserve(std::size_t more) { bytes_.reserve(bytes_.size() + more); }
  [[nodiscard]] std::size_t bytes_held() const {
    return validity_.capacity() + offsets_.bytes_held() + bytes_.capacity();
  }
  void give(ArrowArray& out, const export_to& to) {
    buffers_[1] = offsets_.data();
    buffers_[2] = address(bytes_);
    fill(out, to, 3, nullptr, 0);
  }

 private:
  offsets offsets_;
  std::vector<std::uint8_t> bytes_;
};
using utf8 = bytes<std::string_view>;  ///< well-formed UTF-8: the host refuses other
using binary = bytes<bytes_view>;

template <class T>
class fixed : public base {
 public:
  void append(T value) {
    values_.push_back(value);
    row_valid();
  }
  void append_null() {
    values_.push_back(T{});
    row_null();
  }
  void clear() {
    clear_rows();
    values_.clear();
  }
  [[nodiscard]] std::size_t bytes_held() const {
    return validity_.capacity() + values_.capacity() * sizeof(T);
  }
  void give(ArrowArray& out, const export_to& to) {
    buffers_[1] = address(values_);
    fill(out, to, 2, nullptr, 0);
  }

 private:
  std::vector<T> values_;
};
using int32 = fixed<std::int32_t>;  ///< int, date, time-millis
using int64 = fixed<std::int64_t>;  ///< long, timestamps, time-micros
using float32 = fixed<float>;
using float64 = fixed<double>;

class boolean : public base {
 public:
  void append(bool value) {
    push_bit(bits_, length_, value);
    row_valid();
  }
  void append_null() {
    push_bit(bits_, length_, false);
    row_null();
  }
  void clear() {
    clear_rows();
    bits_.clear();
  }
  [[nodiscard]] std::size_t bytes_held() const { return validity_.capacity() + bits_.capacity(); }
  void give(ArrowArray& out, const export_to& to) {
    buffers_[1] = address(bits_);
    fill(out, to, 2, nullptr, 0);
  }

 private:
  std::vector<std::uint8_t> bits_;
};

/// An Avro enum. The symbols are those of the declared type, in its order.
class enumeration : public base {
 public:
  explicit enumeration(std::span<const std::string_view> symbols) {
    for (auto symbol : symbols) symbols_.append(symbol);
  }
  void append(std::int32_t index) {
    indices_.push_back(index);
    row_valid();
  }
  void append_null() {
    indices_.push_back(0);
    row_null();
  }
  void clear() {
    clear_rows();
    indices_.clear();
  }
  [[nodiscard]] std::size_t bytes_held() const {
    return validity_.capacity() + indices_.capacity() * sizeof(std::int32_t) +
           symbols_.bytes_held();
  }
  void give(ArrowArray& out, const export_to& to) {
    buffers_[1] = address(indices_);
    fill(out, to, 2, nullptr, 0);
    symbols_.give(dictionary_, to);
    out.dictionary = &dictionary_;
  }

 private:
  utf8 symbols_;
  std::vector<std::int32_t> indices_;
  ArrowArray dictionary_{};
};

/// Rows of any number of entries: append to `values()`, then `close()` the row.
template <class Values>
class list : public base {
 public:
  list() = default;
  explicit list(Values values) : values_(std::move(values)) {}

  [[nodiscard]] Values& values() { return values_; }
  void close() {
    offsets_.close(static_cast<std::size_t>(values_.length()));
    row_valid();
  }
  void append_null() {
    offsets_.close(static_cast<std::size_t>(values_.length()));
    row_null();
  }
  void clear() {
    clear_rows();
    offsets_.clear();
    values_.clear();
  }
  [[nodiscard]] std::size_t bytes_held() const {
    return validity_.capacity() + offsets_.bytes_held() + values_.bytes_held();
  }
  void give(ArrowArray& out, const export_to& to) {
    buffers_[1] = offsets_.data();
    values_.give(child_, to);
    children_[0] = &child_;
    fill(out, to, 2, children_.data(), 1);
  }

 private:
  offsets offsets_;
  Values values_;
  ArrowArray child_{};
  std::array<ArrowArray*, 1> children_{};
};

/// A record: append one row to each field, then `close()` the row.
template <class... Fields>
class record : public base {
 public:
  record() = default;
  explicit record(Fields... fields) requires(sizeof...(Fields) > 0)
      : fields_(std::move(fields)...) {}

  template <std::size_t I>
  [[nodiscard]] auto& get() {
    return std::get<I>(fields_);
  }
  void close() {
    row_valid();
    each([this](auto& f) {
      if (f.length() != length_)
        throw contract_error("record::close: each field needs one row more");
    });
  }
  /// Null; appends a null to each field.
  void append_null() {
    row_null();
    each([](auto& f) { f.append_null(); });
  }
  void clear() {
    clear_rows();
    each([](auto& f) { f.clear(); });
  }
  [[nodiscard]] std::size_t bytes_held() const {
    return std::apply(
        [this](const auto&... f) { return (validity_.capacity() + ... + f.bytes_held()); },
        fields_);
  }
  void give(ArrowArray& out, const export_to& to) {
    std::size_t i = 0;
    each([&](auto& f) {
      f.give(arrays_[i], to);
      children_[i] = &arrays_[i];
      ++i;
    });
    fill(out, to, 1, children_.data(), sizeof...(Fields));
  }

 private:
  template <class Visit>
  void each(Visit visit) {
    std::apply([&](auto&... f) { (visit(f), ...); }, fields_);
  }
  std::tuple<Fields...> fields_;
  std::array<ArrowArray, sizeof...(Fields)> arrays_{};
  std::array<ArrowArray*, sizeof...(Fields)> children_{};
};

/// Rows of named values: `entry(name)` and append exactly one value to what it returns; then
/// `close()` the row.
template <class Values>
class map : public base {
 public:
  map() = default;
  explicit map(Values values) : entries_(utf8(), std::move(values)) {}

  [[nodiscard]] Values& entry(std::string_view key) {
    end_entry();
    entries_.template get<0>().append(key);
    open_ = true;
    return entries_.template get<1>();
  }
  void close() {
    end_entry();
    offsets_.close(static_cast<std::size_t>(entries_.length()));
    row_valid();
  }
  void append_null() {
    end_entry();
    offsets_.close(static_cast<std::size_t>(entries_.length()));
    row_null();
  }
  void clear() {
    clear_rows();
    offsets_.clear();
    entries_.clear();
    open_ = false;
  }
  [[nodiscard]] std::size_t bytes_held() const {
    return validity_.capacity() + offsets_.bytes_held() + entries_.bytes_held();
  }
  void give(ArrowArray& out, const export_to& to) {
    buffers_[1] = offsets_.data();
    entries_.give(child_, to);
    children_[0] = &child_;
    fill(out, to, 2, children_.data(), 1);
  }

 private:
  void end_entry() {
    if (!open_) return;
    open_ = false;
    entries_.close();
  }
  offsets offsets_;
  record<utf8, Values> entries_;
  bool open_ = false;
  ArrowArray child_{};
  std::array<ArrowArray*, 1> children_{};
};

}  // namespace build

/// One column of an instance, made anew for each batch in memory that is kept: `start`, append,
/// hand over. The memory goes back when the host has released every array of it, also after the
/// instance is gone.
template <class Builder>
class column {
 public:
  /// `prototype`: for builders that need arguments; every batch starts from a copy of its first
  /// state.
  explicit column(Builder prototype = Builder())
      : pool_(std::make_shared<pool>(std::move(prototype))) {}

  /// An empty builder. What an earlier `start` without hand-over left is forgotten.
  Builder& start() {
    if (!current_) current_ = pool_->take();
    current_->builder.clear();
    return current_->builder;
  }
  /// The builder since `start`.
  [[nodiscard]] Builder& builder() {
    if (!current_) throw contract_error("column: start() comes first");
    return current_->builder;
  }
  /// The column as Arrow, owned by whoever holds `out`; `output::set` and `output::emit` call it.
  void hand_over(ArrowArray& out) {
    if (!current_) throw contract_error("column: start() comes first");
    auto* given = current_.release();
    given->home = pool_;
    given->arrays_held.store(0, std::memory_order_relaxed);
    given->builder.give(out, {&column::release, given, &given->arrays_held});
  }

 private:
  // Between batches a pool keeps a few builders, and none that one huge batch blew up.
  static constexpr std::size_t builders_kept_max = 4;
  static constexpr std::size_t builder_bytes_kept_max = std::size_t{16} << 20;

  struct pool;
  struct lease {
    explicit lease(const Builder& prototype) : builder(prototype) {}
    Builder builder;
    std::atomic<std::int32_t> arrays_held{0};
    std::shared_ptr<pool> home;
  };
  struct pool {
    explicit pool(Builder first) : prototype(std::move(first)) { free.reserve(builders_kept_max); }
    std::unique_ptr<lease> take() {
      {
        const std::lock_guard lock(guard);
        if (!free.empty()) {
          auto last = std::move(free.back());
          free.pop_back();
          return last;
        }
      }
      return std::make_unique<lease>(prototype);
    }
    void give_back(std::unique_ptr<lease> returned) noexcept {
      if (returned->builder.bytes_held() > builder_bytes_kept_max) return;
      const std::lock_guard lock(guard);
      if (free.size() < builders_kept_max) free.push_back(std::move(returned));
    }
    const Builder prototype;
    std::mutex guard;
    std::vector<std::unique_ptr<lease>> free;
  };

  /// Arrow's release callback of each array of the column: a child may have been moved out and live
  /// longer than its parent.
  static void release(ArrowArray* array) noexcept {
    for (std::int64_t i = 0; i < array->n_children; ++i) {
      if (auto* child = array->children[i]; child->release != nullptr) child->release(child);
    }
    if (auto* d = array->dictionary; d != nullptr && d->release != nullptr) d->release(d);
    auto* held = static_cast<lease*>(array->private_data);
    array->release = nullptr;
    if (held->arrays_held.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    const auto home = std::move(held->home);
    home->give_back(std::unique_ptr<lease>(held));
  }

  std::shared_ptr<pool> pool_;
  std::unique_ptr<lease> current_;
};

}  // namespace sonder::plugin

#endif
