#include "flow/rows.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace sonder {

void row_space::clear() noexcept {
  record.clear();
  event_time_ms.clear();
  subject.clear();
  purposes.clear();
}

void row_space::append_from(const row_space& from, std::int32_t row) {
  const auto i = static_cast<std::size_t>(row);
  record.push_back(from.record[i]);
  event_time_ms.push_back(from.event_time_ms[i]);
  subject.push_back(from.subject[i]);
  purposes.push_back(from.purposes[i]);
}

row_base& batch_memory::new_base() {
  if (bases_used_ == bases_.size()) bases_.emplace_back();
  auto& base = bases_[bases_used_++];
  base.rows.clear();
  return base;
}

const ArrowArray& batch_memory::own(ArrowArray& made) {
  owned_.push_back(made);
  made.release = nullptr;
  return owned_.back();
}

column& batch_memory::new_column(const field& of) {
  for (auto& pooled : columns_) {
    if (!pooled.used && pooled.of == of) {
      pooled.used = true;
      pooled.memory->clear();
      return *pooled.memory;
    }
  }
  columns_.push_back({of, std::make_unique<column>(of), true});
  return *columns_.back().memory;
}

void batch_memory::clear() noexcept {
  for (auto& array : owned_) {
    if (array.release != nullptr) array.release(&array);
  }
  owned_.clear();
  bases_used_ = 0;
  for (auto& pooled : columns_) pooled.used = false;
}

namespace {

bool same_rows(const row_base& a, const row_base& b) noexcept {
  return &a == &b || (a.rows.size() == b.rows.size() &&
                      (a.rows.empty() ||
                       std::memcmp(a.rows.data(), b.rows.data(), a.rows.size() * sizeof a.rows[0]) == 0));
}

/// Runs of rows that `from` has are gathered together; a row that it lacks becomes null.
bool gather(const ArrowArray& array, const row_base& from, const row_base& to, column& into) {
  thread_local std::vector<std::int32_t> run;
  run.clear();
  std::size_t at = 0;
  for (const auto row : to.rows) {
    while (at < from.rows.size() && from.rows[at] < row) ++at;
    if (at < from.rows.size() && from.rows[at] == row) {
      run.push_back(static_cast<std::int32_t>(at));
      continue;
    }
    if (!into.append_rows(array, run)) return false;
    run.clear();
    into.append_null();
  }
  return into.append_rows(array, run);
}

}  // namespace

const ArrowArray& null_column(const row_base& base, const field& of, batch_memory& memory) {
  auto nulls = of;
  nulls.nullable = true;
  auto& into = memory.new_column(nulls);
  for (std::size_t i = 0; i < base.rows.size(); ++i) into.append_null();
  return into.lend();
}

result<const ArrowArray*> column_over(edge_rows& rows, int index, const row_base& base, const field& of,
                                      batch_memory& memory) {
  auto& from = rows.slots[static_cast<std::size_t>(index)];
  if (from.array != nullptr && same_rows(*from.base, base)) return from.array;
  const ArrowArray* dense = nullptr;
  if (from.array == nullptr) {
    dense = &null_column(base, of, memory);
  } else {
    // Rows that the column lacks need a place for null, whatever its declared type says.
    auto gathered = of;
    gathered.nullable = true;
    auto& into = memory.new_column(gathered);
    if (!gather(*from.array, *from.base, base, into)) {
      return fail(errc::capacity, "a column of one batch passes 2^31-1 bytes; lower batch_rows");
    }
    dense = &into.lend();
  }
  if (base.rows.size() == rows.base->rows.size()) from = {dense, &base};
  return dense;
}

result<const ArrowArray*> symbols_as_text(const ArrowArray& enumeration, batch_memory& memory) {
  auto& into = memory.new_column({"symbol", {type_id::utf8}, true});
  const auto* symbols = fixed_values<std::int32_t>(enumeration);
  for (std::int64_t row = 0; row < enumeration.length; ++row) {
    if (is_null(enumeration, row)) {
      into.append_null();
    } else if (!into.append_text(text_at(*enumeration.dictionary, symbols[row]))) {
      return fail(errc::capacity, "a column of one batch passes 2^31-1 bytes; lower batch_rows");
    }
  }
  return &into.lend();
}

status withhold_column(edge_rows& rows, int index, std::uint64_t needs, const row_space& space, const field& of,
                       batch_memory& memory) {
  auto& from = rows.slots[static_cast<std::size_t>(index)];
  if (from.array == nullptr) return {};
  const auto& agreed = agreed_rows(*rows.base, space, needs, memory);
  if (&agreed == rows.base) return {};
  auto nullable = of;  // rows that the column lacks already need a place for null, whatever the stage that wrote it declares
  nullable.nullable = true;
  auto& into = memory.new_column(nullable);
  if (!gather(*from.array, *from.base, agreed, into)) {
    return fail(errc::capacity, "a column of one batch passes 2^31-1 bytes; lower batch_rows");
  }
  from = {&into.lend(), &agreed};
  return {};
}

const row_base& agreed_rows(const row_base& base, const row_space& space, std::uint64_t needs, batch_memory& memory) {
  const auto agrees = [&](std::int32_t row) { return (space.purposes[static_cast<std::size_t>(row)] & needs) == needs; };
  if (std::all_of(base.rows.begin(), base.rows.end(), agrees)) return base;
  auto& agreed = memory.new_base();
  std::copy_if(base.rows.begin(), base.rows.end(), std::back_inserter(agreed.rows), agrees);
  return agreed;
}

}  // namespace sonder
