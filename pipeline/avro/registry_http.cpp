#include "avro/registry_http.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

namespace sonder {

namespace {

constexpr const char* media_type = "application/vnd.schemaregistry.v1+json";

struct curl_deleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(char* text) const { curl_free(text); }
};

template <class T>
using curl_ptr = std::unique_ptr<T, curl_deleter>;

std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  const curl_ptr<char> owned(text);
  return text;
}

/// The URL without a slash at its end. What it must not hold is not repeated: it may be a password.
result<std::string> checked_url(const std::string& text) {
  const std::string wanted = "expected http[s]://host[:port][/path]";
  const curl_ptr<CURLU> url(curl_url());
  if (url == nullptr) return fail(errc::internal, "registry: no memory for a URL");
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK)
    return fail(errc::invalid, "registry: the URL cannot be read; " + wanted);
  if (!part_of(url.get(), CURLUPART_USER).empty() ||
      !part_of(url.get(), CURLUPART_PASSWORD).empty()) {
    return fail(errc::invalid,
                "registry: the URL holds credentials, which end up in logs; name a user and a "
                "secret instead");
  }
  const std::string scheme = part_of(url.get(), CURLUPART_SCHEME);
  if ((scheme != "http" && scheme != "https") || text.find("://") == text.npos)
    return fail(errc::invalid, "registry: the URL begins with another scheme; " + wanted);
  if (!part_of(url.get(), CURLUPART_QUERY).empty() ||
      !part_of(url.get(), CURLUPART_FRAGMENT).empty())
    return fail(errc::invalid, "registry: the URL holds a query or a fragment; " + wanted);
  return text.substr(0, text.find_last_not_of('/') + 1);
}

status check_file(const std::string& path, std::string_view what) {
  if (path.empty() || std::ifstream(path)) return {};
  return fail(errc::invalid, path + ": the registry's " + std::string(what) + " cannot be read");
}

status check_token(const std::string& token) {
  const bool plain =
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (plain) return {};
  return fail(errc::invalid,
              "registry: the bearer token holds a space, a line end or another byte that no token "
              "has; is the secret's file what it should be?");
}

}  // namespace

struct registry_http::parts {
  registry_endpoint at;
  curl_ptr<CURL> handle;
  curl_ptr<curl_slist> headers;
  answer current;
  std::size_t header_bytes = 0;
  bool too_long = false;
  std::array<char, CURL_ERROR_SIZE> reason{};

  static std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* to) {
    auto& p = *static_cast<parts*>(to);
    if (p.current.body.size() + size * count > answer_bytes_max) {
      p.too_long = true;
      return 0;
    }
    p.current.body.append(bytes, size * count);
    return size * count;
  }

  static std::size_t on_header(char*, std::size_t size, std::size_t count, void* to) {
    auto& p = *static_cast<parts*>(to);
    p.header_bytes += size * count;
    if (p.header_bytes <= header_bytes_max) return size * count;
    p.too_long = true;
    return 0;
  }

  void prepare(method how, const std::string& path, const std::string& body,
               std::chrono::milliseconds timeout);
  void prepare_trust();
};

void registry_http::parts::prepare_trust() {
  CURL* curl = handle.get();
  if (!at.ca_file.empty()) {
    curl_easy_setopt(curl, CURLOPT_CAINFO, at.ca_file.c_str());
    curl_easy_setopt(curl, CURLOPT_CAPATH, nullptr);
  }
  if (!at.client_certificate.empty())
    curl_easy_setopt(curl, CURLOPT_SSLCERT, at.client_certificate.c_str());
  if (!at.client_key.empty()) curl_easy_setopt(curl, CURLOPT_SSLKEY, at.client_key.c_str());
  if (!at.bearer_token.empty()) {
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, at.bearer_token.c_str());
  } else if (!at.user.empty()) {
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
    curl_easy_setopt(curl, CURLOPT_USERNAME, at.user.c_str());
    curl_easy_setopt(curl, CURLOPT_PASSWORD, at.password.c_str());
  }
}

void registry_http::parts::prepare(method how, const std::string& path, const std::string& body,
                                   std::chrono::milliseconds timeout) {
  CURL* curl = handle.get();
  curl_easy_reset(curl);  // keeps the connection
  current = {};
  header_bytes = 0;
  too_long = false;
  reason[0] = '\0';
  curl_easy_setopt(curl, CURLOPT_URL, (at.url + path).c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason.data());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &parts::on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &parts::on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  if (how != method::get) {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body.c_str());
  }
  if (how == method::put) curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
  prepare_trust();
}

registry_http::registry_http(std::unique_ptr<parts> p) : parts_(std::move(p)) {}
registry_http::~registry_http() = default;

const std::string& registry_http::url() const noexcept {
  return parts_->at.url;
}

result<std::unique_ptr<registry_http>> registry_http::open(registry_endpoint at) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (ready != CURLE_OK) return fail(errc::internal, "registry: libcurl does not start");
  auto url = checked_url(at.url);
  if (!url) return tl::unexpected(url.error());
  at.url = *std::move(url);
  SONDER_TRY(check_file(at.ca_file, "file of certificates to trust"));
  SONDER_TRY(check_file(at.client_certificate, "client certificate"));
  SONDER_TRY(check_file(at.client_key, "client key"));
  SONDER_TRY(check_token(at.bearer_token));
  auto p = std::make_unique<parts>();
  p->at = std::move(at);
  p->handle.reset(curl_easy_init());
  for (const std::string& header :
       {std::string("Accept: ") + media_type + ", application/json",
        std::string("Content-Type: ") + media_type, std::string("Expect:")}) {
    curl_slist* longer = curl_slist_append(p->headers.get(), header.c_str());
    if (longer == nullptr) return fail(errc::internal, "registry: no memory for a request");
    (void)p->headers.release();
    p->headers.reset(longer);
  }
  if (p->handle == nullptr) return fail(errc::internal, "registry: libcurl does not start");
  return std::unique_ptr<registry_http>(new registry_http(std::move(p)));
}

result<registry_http::answer> registry_http::ask(method how, const std::string& path,
                                                 const std::string& body,
                                                 std::chrono::milliseconds timeout) {
  // libcurl takes 0 for "no limit".
  parts_->prepare(how, path, body, std::max(timeout, std::chrono::milliseconds(1)));
  const CURLcode code = curl_easy_perform(parts_->handle.get());
  if (parts_->too_long) {
    return fail(errc::unavailable, "answers with more than " + std::to_string(answer_bytes_max) +
                                       " bytes, or more than " + std::to_string(header_bytes_max) +
                                       " of headers");
  }
  if (code != CURLE_OK) {
    const char* reason =
        parts_->reason[0] != '\0' ? parts_->reason.data() : curl_easy_strerror(code);
    return fail(errc::unavailable, std::string("does not answer: ") + reason);
  }
  curl_easy_getinfo(parts_->handle.get(), CURLINFO_RESPONSE_CODE, &parts_->current.status);
  return std::move(parts_->current);
}

std::string registry_http::segment(std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      out.append({'%', digits[byte >> 4], digits[byte & 15]});
    }
  }
  return out;
}

}  // namespace sonder
