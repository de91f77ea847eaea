#include "avro/registry.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace sonder {

namespace {

namespace fs = std::filesystem;

result<std::string> read_text(const fs::path& file, std::size_t bytes_max) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(errc::io, file.string() + ": cannot be opened: " + std::strerror(errno));
  std::string text;
  char chunk[1 << 16];
  while (in.read(chunk, sizeof chunk) || in.gcount() > 0) {
    text.append(chunk, static_cast<std::size_t>(in.gcount()));
    if (text.size() > bytes_max)
      return fail(errc::capacity,
                  file.string() + ": longer than " + std::to_string(bytes_max) + " bytes");
  }
  if (in.bad()) return fail(errc::io, file.string() + ": cannot be read");
  return text;
}

class memory_index final : public schema_index {
 public:
  result<std::vector<entry>> load() override { return entries_; }
  status add(const entry& e) override {
    entries_.push_back(e);
    return {};
  }

 private:
  std::vector<entry> entries_;
};

class file_index final : public schema_index {
 public:
  static constexpr std::size_t file_bytes_max = std::size_t{256} << 20;

  explicit file_index(fs::path file) : file_(std::move(file)) {}

  result<std::vector<entry>> load() override {
    std::vector<entry> entries;
    if (!fs::exists(file_)) return entries;
    auto text = read_text(file_, file_bytes_max);
    if (!text) return tl::unexpected(text.error());
    std::size_t line_number = 0;
    for (std::size_t at = 0; at < text->size();) {
      const auto end = text->find('\n', at);
      if (end == text->npos) break;  // a crash cut it off before anybody used its id
      auto e = parse_line(std::string_view(*text).substr(at, end - at));
      ++line_number;
      if (!e)
        return tl::unexpected(e.error().at(file_.string() + ":" + std::to_string(line_number)));
      entries.push_back(*std::move(e));
      at = end + 1;
    }
    return entries;
  }

  status add(const entry& e) override {
    SONDER_TRY(drop_cut_line());
    const std::string line =
        nlohmann::json{{"id", e.id}, {"subject", e.subject}, {"schema", e.json}}.dump() + "\n";
    const int fd = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
      return fail(errc::io, file_.string() + ": cannot be opened: " + std::strerror(errno));
    const ssize_t written = ::write(fd, line.data(), line.size());
    const bool kept = written == static_cast<ssize_t>(line.size()) && ::fsync(fd) == 0;
    const int problem = errno;
    ::close(fd);
    if (!kept)
      return fail(errc::io, file_.string() + ": cannot be written: " + std::strerror(problem));
    return {};
  }

 private:
  static result<entry> parse_line(std::string_view line) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("id") || !json["id"].is_number_integer() ||
        !json.contains("subject") || !json["subject"].is_string() || !json.contains("schema") ||
        !json["schema"].is_string()) {
      return fail(errc::corrupt, "is no entry of a schema index");
    }
    return entry{json["id"].get<std::int32_t>(), json["subject"].get<std::string>(),
                 json["schema"].get<std::string>()};
  }

  /// What a crash left after the last whole line must not run into the next one.
  status drop_cut_line() {
    if (!fs::exists(file_)) return {};
    auto text = read_text(file_, file_bytes_max);
    if (!text) return tl::unexpected(text.error());
    const auto last = text->rfind('\n');
    const std::size_t whole = last == text->npos ? 0 : last + 1;
    if (whole == text->size()) return {};
    std::error_code problem;
    fs::resize_file(file_, whole, problem);
    if (problem) return fail(errc::io, file_.string() + ": cannot be cut: " + problem.message());
    return {};
  }

  fs::path file_;
};

}  // namespace

std::unique_ptr<schema_index> make_file_index(fs::path file) {
  return std::make_unique<file_index>(std::move(file));
}
std::unique_ptr<schema_index> make_memory_index() {
  return std::make_unique<memory_index>();
}

result<schema_ptr> load_schema_file(const fs::path& file) {
  auto text = read_text(file, schema_bytes_max);
  if (!text) return tl::unexpected(text.error());
  auto parsed = parse_schema(*text);
  if (!parsed) return tl::unexpected(parsed.error().at(file.string()));
  return parsed;
}

result<std::unique_ptr<indexed_registry>> indexed_registry::open(
    std::unique_ptr<schema_index> index) {
  std::unique_ptr<indexed_registry> registry(new indexed_registry(std::move(index)));
  if (auto read = registry->refresh(); !read) return tl::unexpected(read.error());
  return registry;
}

status indexed_registry::take(schema_index::entry e) {
  auto parsed = parse_schema(e.json);
  if (!parsed)
    return fail(errc::corrupt,
                "schema " + std::to_string(e.id) + " of the index: " + parsed.error().message);
  if (const auto known = ids_.find(e.json); known != ids_.end() && known->second != e.id) {
    return fail(errc::corrupt, "schemas " + std::to_string(known->second) + " and " +
                                   std::to_string(e.id) + " of the index are the same");
  }
  if (const auto known = schemas_.find(e.id);
      known != schemas_.end() && to_json(*known->second) != to_json(**parsed)) {
    return fail(errc::corrupt, "the index has two schemas of id " + std::to_string(e.id));
  }
  ids_[e.json] = e.id;
  schemas_[e.id] = *std::move(parsed);
  id_last_ = std::max(id_last_, e.id);
  entries_.push_back(std::move(e));
  return {};
}

status indexed_registry::refresh() {
  auto entries = index_->load();
  if (!entries) return tl::unexpected(entries.error());
  if (entries->size() < entries_.size())
    return fail(errc::corrupt, "the schema index has lost entries");
  for (std::size_t i = entries_.size(); i < entries->size(); ++i)
    SONDER_TRY(take(std::move((*entries)[i])));
  return {};
}

result<std::int32_t> indexed_registry::register_schema(std::string_view subject, const schema& of) {
  const std::lock_guard lock(mutex_);
  if (auto read = refresh(); !read) return tl::unexpected(read.error());
  schema_index::entry e{0, std::string(subject), to_json(of)};
  const auto known = ids_.find(e.json);
  e.id = known == ids_.end() ? id_last_ + 1 : known->second;
  const bool there = std::any_of(entries_.begin(), entries_.end(), [&](const auto& other) {
    return other.id == e.id && other.subject == e.subject;
  });
  if (there) return e.id;
  if (auto added = index_->add(e); !added) return tl::unexpected(added.error());
  const auto id = e.id;
  if (auto taken = take(std::move(e)); !taken) return tl::unexpected(taken.error());
  return id;
}

result<std::int32_t> indexed_registry::id_of(const schema& of) {
  const std::lock_guard lock(mutex_);
  const std::string json = to_json(of);
  auto known = ids_.find(json);
  if (known == ids_.end()) {
    if (auto read = refresh(); !read) return tl::unexpected(read.error());
    known = ids_.find(json);
  }
  if (known == ids_.end())
    return fail(errc::not_found, "schema \"" + to_string(of) + "\" is not registered");
  return known->second;
}

result<schema_ptr> indexed_registry::by_id(std::int32_t id) {
  const std::lock_guard lock(mutex_);
  auto known = schemas_.find(id);
  if (known == schemas_.end()) {
    if (auto read = refresh(); !read) return tl::unexpected(read.error());
    known = schemas_.find(id);
  }
  if (known == schemas_.end())
    return fail(errc::not_found, "no schema has the id " + std::to_string(id));
  return known->second;
}

result<std::vector<std::pair<std::int32_t, schema_ptr>>> indexed_registry::versions(
    std::string_view subject) {
  const std::lock_guard lock(mutex_);
  if (auto read = refresh(); !read) return tl::unexpected(read.error());
  std::vector<std::pair<std::int32_t, schema_ptr>> found;
  for (const auto& e : entries_) {
    if (e.subject == subject) found.emplace_back(e.id, schemas_.at(e.id));
  }
  return found;
}

result<std::vector<std::string>> indexed_registry::subjects() {
  const std::lock_guard lock(mutex_);
  if (auto read = refresh(); !read) return tl::unexpected(read.error());
  std::set<std::string> names;
  for (const auto& e : entries_) names.insert(e.subject);
  return std::vector<std::string>(names.begin(), names.end());
}

result<std::size_t> indexed_registry::register_folder(const fs::path& folder) {
  std::error_code problem;
  std::vector<fs::path> files;
  for (const auto& file : fs::directory_iterator(folder, problem)) {
    if (file.path().extension() == ".avsc") files.push_back(file.path());
  }
  if (problem) return fail(errc::io, folder.string() + ": cannot be listed: " + problem.message());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    auto parsed = load_schema_file(file);
    if (!parsed) return tl::unexpected(parsed.error());
    if (auto id = register_schema(file.stem().string(), **parsed); !id)
      return tl::unexpected(id.error());
  }
  return files.size();
}

}  // namespace sonder
