#include "cli/registered_schemas.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "cli/command.h"

namespace sonder::cli {
namespace {

/// Why a version cannot be read, and which it is: by its schema, since numbers of versions have gaps where some were deleted.
std::string why_unreadable(schema_registry& schemas, const std::string& subject, std::int32_t id) {
  const auto again = schemas.by_id(id);  // remembered, with its reason, since the versions were asked for
  return "subject \"" + subject + "\": the version with schema " + std::to_string(id) + " cannot be read" +
         (again ? " just now" : ": " + again.error().message);
}

}  // namespace

result<schema_ptr> newest_schema(schema_registry& schemas, const std::string& subject, std::ostream& said) {
  const auto versions = schemas.versions_and_unreadable(subject);
  if (!versions) return tl::unexpected(versions.error());
  std::string newest_why;
  for (auto v = versions->size(); v-- > 0;) {
    const auto& [id, of] = (*versions)[v];
    if (of != nullptr) return of;
    const auto why = why_unreadable(schemas, subject, id);
    said << "sonder: " << why << '\n';
    if (newest_why.empty()) newest_why = why;
  }
  if (versions->empty()) return schema_ptr();
  return fail(errc::unsupported, newest_why + (versions->size() == 1 ? "" : "; no earlier one can be read either"));
}

result<std::size_t> list_schemas(schema_registry& schemas, bool as_json, std::ostream& out, std::ostream& said) {
  const auto subjects = schemas.subjects();
  if (!subjects) return tl::unexpected(subjects.error());
  text_table table({"id", "subject", "version", "schema", "fields"});
  std::size_t unreadable = 0;
  for (const auto& subject : *subjects) {
    const auto versions = schemas.versions_and_unreadable(subject);
    if (!versions) return tl::unexpected(versions.error());
    for (std::size_t v = 0; v < versions->size(); ++v) {
      const auto& [id, of] = (*versions)[v];
      nlohmann::ordered_json line{{"id", id}, {"subject", subject}, {"version", v + 1}, {"schema", nullptr}, {"fields", nullptr}};
      if (of == nullptr) {
        ++unreadable;
        said << "sonder: " << why_unreadable(schemas, subject, id) << '\n';
        table.add({std::to_string(id), subject, std::to_string(v + 1), "cannot be read", "-"});
      } else {
        line["schema"] = to_string(*of);
        line["fields"] = of->fields.size();
        table.add({std::to_string(id), subject, std::to_string(v + 1), to_string(*of), std::to_string(of->fields.size())});
      }
      if (as_json) out << line.dump() << '\n';
    }
  }
  if (!as_json) out << table.text();
  return unreadable;
}

}  // namespace sonder::cli
