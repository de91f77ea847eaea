#include "cli/dead_letter_reader.h"

#include <algorithm>

#include "flow/services.h"

namespace sonder::cli {

namespace {

/// The column of the letter's field of this name; null where its schema has none.
const ArrowArray* column_named(const value_reader::row& of, std::string_view name) {
  const auto at = std::find_if(of.fields->begin(), of.fields->end(), [&](const field& f) { return f.name == name; });
  if (at == of.fields->end()) return nullptr;
  return &(*of.values)[static_cast<std::size_t>(at - of.fields->begin())].lend();
}

}  // namespace

dead_letter_reader::dead_letter_reader(const place& at, value_reader& values, std::unique_ptr<const dead_letter_seal> seal)
    : at_(at), values_(values), seal_(std::move(seal)) {}

result<std::unique_ptr<dead_letter_reader>> dead_letter_reader::open(const place& at, value_reader& values) {
  if (!at.flow || at.flow->quarantine_key.empty()) {
    return fail(errc::not_found, "--unseal needs --config with a flow that names its `quarantine_key`");
  }
  const auto secrets = secret_box::read(*at.flow);
  if (!secrets) return tl::unexpected(secrets.error());
  const auto* secret = (*secrets)->find(at.flow->quarantine_key);
  if (secret == nullptr) return fail(errc::not_found, "quarantine key: no secret \"" + at.flow->quarantine_key + "\" under `secrets`");
  auto seal = dead_letter_seal::make(*secret);
  if (!seal) return tl::unexpected(seal.error());
  return std::unique_ptr<dead_letter_reader>(new dead_letter_reader(at, values, std::move(*seal)));
}

result<record_printer*> dead_letter_reader::printer_of(const std::string& topic) {
  if (const auto known = printers_.find(topic); known != printers_.end()) return known->second.get();
  schema_ptr key_of;
  if (const auto* configured = at_.topic(topic); configured != nullptr && !configured->schema.empty()) {
    const auto of = load_schema_file(configured->schema);
    if (!of) return tl::unexpected(of.error());
    key_of = key_schema(**of, configured->key);
  }
  auto& made = printers_[topic];
  made = std::make_unique<record_printer>(topic, values_, std::move(key_of));
  return made.get();
}

status dead_letter_reader::print(const log_record& letter, std::string& out) {
  if (!letter.has_value) return {};
  const auto row = values_.read(letter.value);
  if (!row) return tl::unexpected(row.error());
  const auto* topic = column_named(*row, "topic");
  const auto* partition = column_named(*row, "partition");
  const auto* offset = column_named(*row, "offset");
  const auto* timestamp = column_named(*row, "timestamp");
  const auto* sealed = column_named(*row, "sealed");
  const auto* key_id = column_named(*row, "key_id");
  if (topic == nullptr || partition == nullptr || offset == nullptr || timestamp == nullptr || sealed == nullptr || key_id == nullptr) {
    return fail(errc::invalid, "the topic holds no dead letters: their schema is schemas/dead_letter.avsc");
  }
  if (is_null(*sealed, 0)) {
    ++without_record_;
    return {};
  }
  if (text_at(*key_id, 0) != seal_->key_id()) {
    ++under_other_keys_;
    return {};
  }
  const auto opened = seal_->open(bytes_at(*sealed, 0), plain_);
  if (!opened) return tl::unexpected(opened.error());
  log_record record;
  record.offset = fixed_values<std::int64_t>(*offset)[0];
  record.timestamp_ms = fixed_values<std::int64_t>(*timestamp)[0];
  record.key = opened->key;
  record.has_key = !opened->key.empty();  // an empty key and none are sealed alike
  record.value = opened->value;
  record.has_value = true;
  record.headers = opened->headers;
  const auto of_partition = fixed_values<std::int32_t>(*partition)[0];
  const auto printer = printer_of(std::string(text_at(*topic, 0)));
  if (!printer) return tl::unexpected(printer.error());
  (*printer)->print(of_partition, record, out);
  return {};
}

}  // namespace sonder::cli
