#include "plugin/testing_calls.h"

#include <algorithm>

namespace sonder {
namespace {

const std::int32_t never_cancelled = 0;
const std::int32_t cancelled_at_once = 1;

std::vector<field> columns_of(const std::vector<manifest_field>& fields) {
  std::vector<field> made;
  for (const auto& f : fields) made.push_back(f.column);
  return made;
}

field record_of(std::string name, const std::vector<manifest_field>& fields) {
  return {std::move(name), data_type{type_id::record, 0, 0, {}, columns_of(fields)}, false};
}

field binary_field(std::string name, bool nullable) {
  return {std::move(name), data_type{type_id::binary, 0, 0, {}, {}}, nullable};
}

field header_map() {
  field entries{"entries", data_type{type_id::record, 0, 0, {}, {}}, false};
  entries.type.fields.push_back({"key", data_type{type_id::utf8, 0, 0, {}, {}}, false});
  entries.type.fields.push_back(binary_field("value", true));
  return {"headers", data_type{type_id::map, 0, 0, {}, {entries}}, false};
}

}  // namespace

// ---- What is lent ----

offered_batch::offered_batch(const manifest_input& port)
    : port_(port),
      reader_(port.record),
      reads_(columns_of(port.reads)),
      record_(record_of("", port.reads)),
      header_field_(header_map()),
      key_(binary_field("key", true)),
      headers_(header_field_) {
  reader_.ignore_unknown(true);
  export_schema(record_, &schema_);
}

offered_batch::~offered_batch() {
  if (schema_.release != nullptr) schema_.release(&schema_);
}

void offered_batch::clear() {
  reads_.clear();
  key_.clear();
  headers_.clear();
  timestamps_.clear();
  event_times_.clear();
  tombstones_.clear();
}

status offered_batch::append(const testing::input_row& row, std::int64_t event_time_ms) {
  if (row.tombstone) {
    for (std::size_t i = 0; i < reads_.size(); ++i) {
      port_.reads[i].column.nullable ? reads_[i].append_null() : reads_[i].append_zero();
    }
  } else {
    SONDER_TRY(reader_.append(row.json, reads_));
  }
  if (auto appended = append_headers(row); !appended) {
    reads_.truncate(rows());
    return appended;
  }
  event_times_.push_back(row.event_time_ms.value_or(event_time_ms));
  timestamps_.push_back(row.timestamp_ms.value_or(event_times_.back()));
  tombstones_.push_back(row.tombstone ? 1 : 0);
  return {};
}

status offered_batch::append_headers(const testing::input_row& row) {
  const auto too_much = [&]() -> status {
    key_.truncate(rows());
    headers_.truncate(rows());
    return fail(errc::capacity, "a key or header is larger than a column holds");
  };
  if (!row.key) {
    key_.append_null();
  } else if (!key_.append_text(*row.key)) {
    return too_much();
  }
  auto& entries = headers_.child(0);
  for (const auto& [name, value] : row.headers) {
    if (!entries.child(0).append_text(name)) return too_much();
    if (!value) {
      entries.child(1).append_null();
    } else if (!entries.child(1).append_text(*value)) {
      return too_much();
    }
    entries.close_record();
  }
  headers_.close_list();
  return {};
}

std::int64_t offered_batch::greatest_event_time_ms() const {
  return event_times_.empty() ? INT64_MIN
                              : *std::max_element(event_times_.begin(), event_times_.end());
}

const sonder_batch* offered_batch::lend(std::uint32_t port, bool cancelled) {
  std::vector<ArrowArray> lent;
  std::vector<ArrowArray*> children;
  for (std::size_t i = 0; i < reads_.size(); ++i) lent.push_back(reads_[i].lend());
  for (auto& array : lent) children.push_back(&array);
  const void* no_validity[] = {nullptr};
  ArrowArray top{};
  top.length = rows();
  top.n_buffers = 1;
  top.buffers = no_validity;
  top.n_children = static_cast<std::int64_t>(children.size());
  top.children = children.data();

  const auto& key = key_.lend();
  const auto& headers = headers_.lend();
  const auto row_bytes = event_times_.size() * sizeof(std::int64_t);
  pages_.open(lent_pages::room(top, record_) + lent_pages::room(key, binary_field("key", true)) +
              lent_pages::room(headers, header_field_) + 3 * lent_pages::room(row_bytes) +
              lent_pages::room(sizeof(sonder_batch)));
  sonder_batch batch{};
  batch.struct_size = sizeof batch;
  batch.port = port;
  batch.rows = rows();
  batch.schema = &schema_;
  batch.array = pages_.copy(top, record_);
  const auto& wants = port_.reserved;
  if (wants.timestamp) batch.timestamp_ms = pages_.copy(std::span<const std::int64_t>(timestamps_));
  if (wants.event_time)
    batch.event_time_ms = pages_.copy(std::span<const std::int64_t>(event_times_));
  if (wants.tombstone) batch.tombstone = pages_.copy(std::span<const std::uint8_t>(tombstones_));
  if (wants.key) batch.key = pages_.copy(key, binary_field("key", true));
  if (wants.headers) batch.headers = pages_.copy(headers, header_field_);
  batch.watermark_ms = INT64_MIN;
  batch.cancelled = cancelled ? &cancelled_at_once : &never_cancelled;
  const auto* at = static_cast<const sonder_batch*>(pages_.copy(&batch, sizeof batch));
  pages_.lend();
  return at;
}

// ---- What comes back ----

call_output::call_output(const manifest& of, const std::vector<manifest_field>* writes,
                         std::int64_t rows, bool authority, testing_services& services,
                         const std::vector<std::string>& purposes)
    : of_(of),
      writes_(writes),
      rows_(rows),
      services_(services),
      purposes_(purposes),
      verdicts_(static_cast<std::size_t>(rows), SONDER_PASS),
      reasons_(static_cast<std::size_t>(rows)),
      retry_after_ms_(static_cast<std::size_t>(rows)),
      columns_(writes == nullptr ? 0 : writes->size()),
      purpose_mask_(authority ? static_cast<std::size_t>(rows) : 0) {
  raw_.struct_size = sizeof raw_;
  raw_.columns_count = static_cast<std::uint32_t>(columns_.size());
  raw_.verdicts = verdicts_.data();
  raw_.reasons = reasons_.data();
  raw_.retry_after_ms = retry_after_ms_.data();
  raw_.columns = columns_.empty() ? nullptr : columns_.data();
  raw_.purpose_mask = authority ? purpose_mask_.data() : nullptr;
  raw_.emit = &call_output::emit;
  raw_.ctx = this;
}

call_output::~call_output() {
  release_all();
}

void call_output::release_all() {
  for (auto& array : columns_) release(array);
}

void call_output::release(ArrowArray& array) {
  if (array.release == nullptr) return;
  array.release(&array);
  if (array.release == nullptr) return;
  ++not_released_;
  array.release = nullptr;
}

std::int32_t call_output::emit(void* ctx, std::uint32_t port, const std::int64_t* source_rows,
                               std::int64_t count, ArrowArray* array) {
  auto& self = *static_cast<call_output*>(ctx);
  auto taken = self.services_.may_serve("emit") && self.services_.works()
                   ? self.take_emitted(port, source_rows, count, *array)
                   : status(fail(errc::invalid, "emit was refused"));
  const auto before = self.not_released_;
  self.release(*array);
  if (self.not_released_ != before)
    self.services_.violation("emit: release did not mark the array as released");
  if (taken) return SONDER_OK;
  if (self.emit_failure_) self.emit_failure_ = std::move(taken);
  return SONDER_FATAL;
}

status call_output::take_emitted(std::uint32_t port, const std::int64_t* source_rows,
                                 std::int64_t count, const ArrowArray& array) {
  if (port >= of_.outputs.size() || !of_.outputs[port].emitted) {
    return fail(errc::invalid,
                "emit: output " + std::to_string(port) + " is none that the manifest emits on");
  }
  const auto& out = of_.outputs[port];
  if (count < 0 || emitted_.size() + static_cast<std::size_t>(count) > emitted_rows_max) {
    return fail(errc::capacity,
                "emit: more than " + std::to_string(emitted_rows_max) + " rows in one call");
  }
  if (auto fits = check_array(array, record_of(out.name, out.emits), count); !fits) {
    return tl::unexpected(fits.error().at("emit"));
  }
  const auto fields = columns_of(out.emits);
  std::vector<const ArrowArray*> children(array.children, array.children + array.n_children);
  for (std::int64_t i = 0; i < count; ++i) {
    if (source_rows[i] < 0 || source_rows[i] >= rows_) {
      return fail(errc::invalid,
                  "emit: source row " + std::to_string(source_rows[i]) + " is not in the batch");
    }
    testing::emitted_row made{out.name, source_rows[i], {}};
    append_json_row(fields, children, i + array.offset, made.json);
    emitted_.push_back(std::move(made));
  }
  return {};
}

status call_output::check_columns() const {
  const bool any_passes =
      std::find(verdicts_.begin(), verdicts_.end(), SONDER_PASS) != verdicts_.end();
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const auto& write = (*writes_)[i];
    if (columns_[i].release != nullptr) {
      SONDER_TRY(check_array(columns_[i], write.column, rows_));
    } else if (!write.column.nullable && any_passes) {
      return fail(errc::invalid,
                  "write \"" + write.name + "\" was left out, and its type has no null");
    }
  }
  return {};
}

void call_output::append_columns(std::int64_t row, std::string& to) const {
  to += '{';
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (i != 0) to += ',';
    append_json_string((*writes_)[i].name, to);
    to += ':';
    if (columns_[i].release == nullptr) {
      to += "null";
    } else {
      append_json((*writes_)[i].column, columns_[i], row, to);
    }
  }
  to += '}';
}

status call_output::read_row(std::int64_t row, testing::row_outcome& into) const {
  const auto at = static_cast<std::size_t>(row);
  const auto said = verdicts_[at];
  if (said > SONDER_RETRY_ROW) {
    return fail(errc::invalid,
                "row " + std::to_string(row) + " has the unknown verdict " + std::to_string(said));
  }
  into.what = static_cast<testing::verdict>(said);
  if (said == SONDER_PASS && writes_ != nullptr) append_columns(row, into.columns);
  if (said == SONDER_DROP || said == SONDER_DEAD_LETTER) {
    if (reasons_[at] >= of_.reasons.size()) {
      return fail(errc::invalid, "row " + std::to_string(row) + " has reason " +
                                     std::to_string(reasons_[at]) + ", the manifest declares " +
                                     std::to_string(of_.reasons.size()));
    }
    into.reason = of_.reasons[reasons_[at]];
  }
  if (said == SONDER_RETRY_ROW) into.retry_after_ms = retry_after_ms_[at];
  if (purpose_mask_.empty()) return {};
  for (std::size_t bit = 0; bit < 64; ++bit) {
    if (((purpose_mask_[at] >> bit) & 1) == 0) continue;
    if (bit >= purposes_.size())
      return fail(errc::invalid, "purpose bit " + std::to_string(bit) + " stands for nothing");
    into.purposes.push_back(purposes_[bit]);
  }
  return {};
}

status call_output::read(testing::call_outcome& into) {
  if (!emit_failure_) return emit_failure_;
  SONDER_TRY(check_columns());
  into.rows.resize(static_cast<std::size_t>(rows_));
  for (std::int64_t row = 0; row < rows_; ++row)
    SONDER_TRY(read_row(row, into.rows[static_cast<std::size_t>(row)]));
  into.emitted = std::move(emitted_);
  return {};
}

}  // namespace sonder
