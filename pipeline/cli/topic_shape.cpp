#include "cli/topic_shape.h"

#include <iostream>

#include "cli/registered_schemas.h"
#include "flow/worker.h"
#include "plugin/config_schema.h"

namespace sonder::cli {
namespace {

result<schema_ptr> schema_for(const topic_options* configured, schema_registry& schemas,
                              const std::string& topic, const std::string& file) {
  if (!file.empty()) return load_schema_file(file);
  if (configured != nullptr && !configured->schema.empty())
    return load_schema_file(configured->schema);
  auto newest = newest_schema(schemas, value_subject(topic), std::cerr);
  if (!newest) return newest;
  if (*newest == nullptr)
    return fail(errc::not_found,
                "topic \"" + topic +
                    "\" has no schema that this log knows; give --schema FILE or --config FILE");
  return newest;
}

// Makes the topic where it is missing; else answers how many partitions it has.
result<std::int32_t> make_topic(log& in, const topic_config& wanted) {
  auto there = in.describe(wanted.name);
  if (there) return there->partitions;
  if (there.error().code != errc::not_found) return tl::unexpected(there.error());
  SONDER_TRY(in.create_topic(wanted));
  return wanted.partitions;
}

bool has_time_at(const schema& of) {
  const auto* at = of.find_field("at");
  return at != nullptr && (at->type->logical == logical_type::timestamp_millis ||
                           at->type->logical == logical_type::timestamp_micros);
}

}  // namespace

std::string nearest_topic(const place& where, log& in, const std::string& topic) {
  std::vector<std::string> names;
  if (where.flow) {
    for (const auto& t : where.flow->topics) names.push_back(t.name);
  }
  // A log that cannot list its topics has said so, or will, to the call that matters.
  if (const auto there = in.topics()) {
    for (const auto& t : *there) names.push_back(t.name);
  }
  return did_you_mean(topic, names);
}

result<record_shape> shape_of(const place& where, log& in, schema_registry& schemas,
                              const std::string& topic, const shape_options& given) {
  const auto* configured = where.topic(topic);
  if (where.flow && configured == nullptr)
    return fail(errc::not_found, where.flow->file + ": has no topic \"" + topic + "\"" +
                                     nearest_topic(where, in, topic));
  record_shape shape;
  shape.topic = configured != nullptr ? configured->topic : topic;
  auto of = schema_for(configured, schemas, shape.topic, given.schema);
  if (!of && of.error().code == errc::not_found && configured == nullptr)
    return fail(errc::not_found, of.error().message + nearest_topic(where, in, topic));
  if (!of) return tl::unexpected(of.error());
  shape.of = std::move(*of);
  if (shape.of->type != avro_type::record)
    return fail(errc::invalid, "topic \"" + topic + "\": its schema is " + to_string(*shape.of) +
                                   ", it must be a record");
  shape.subject =
      !given.subject.empty() || configured == nullptr ? given.subject : configured->subject;
  // Whoever writes such a topic goes by its key.
  if (given.subject.empty() && configured != nullptr && configured->rekey) shape.subject.clear();
  shape.event_time = !given.event_time.empty() || configured == nullptr ? given.event_time
                                                                        : configured->event_time;
  if (shape.event_time.empty() && given.past && has_time_at(*shape.of)) shape.event_time = "at";
  shape.key = !given.key.empty() || configured == nullptr ? given.key : configured->key;
  topic_config wanted =
      configured != nullptr ? as_topic_config(*configured) : topic_config{.name = topic};
  if (given.partitions > 0) wanted.partitions = given.partitions;
  const auto partitions = make_topic(in, wanted);
  if (!partitions) return tl::unexpected(partitions.error());
  shape.partitions = *partitions;
  if (configured != nullptr && configured->bare) return shape;
  const auto id = schemas.register_schema(value_subject(shape.topic), *shape.of);
  if (!id) return tl::unexpected(id.error());
  shape.schema_id = *id;
  return shape;
}

}  // namespace sonder::cli
