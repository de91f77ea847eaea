#include "avro/registry_server_rig.h"

#include <civetweb.h>

#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

namespace sonder::test {

struct registry_server::parts {
  mutable std::mutex mutex;
  behaviour how;
  std::vector<request> seen;
  mg_context* context = nullptr;

  static int on_request(mg_connection* from, void* to) {
    auto& p = *static_cast<parts*>(to);
    const auto* info = mg_get_request_info(from);
    request asked{info->request_method, info->request_uri, {}, {}, {}};
    if (info->query_string != nullptr) asked.path += std::string("?") + info->query_string;
    if (const char* value = mg_get_header(from, "Authorization")) asked.authorization = value;
    if (const char* value = mg_get_header(from, "Accept")) asked.accept = value;
    char chunk[4096];
    for (int got = 0; (got = mg_read(from, chunk, sizeof chunk)) > 0;)
      asked.body.append(chunk, static_cast<std::size_t>(got));
    behaviour how;
    {
      const std::lock_guard lock(p.mutex);
      p.seen.push_back(asked);
      how = p.how;
    }
    const answer said = how(asked);
    mg_printf(from, "HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n",
              said.status, said.body.size());
    mg_write(from, said.headers.data(), said.headers.size());
    mg_write(from, "\r\n", 2);
    mg_write(from, said.body.data(), said.body.size());
    return said.status;
  }
};

registry_server::registry_server(behaviour how) : parts_(std::make_unique<parts>()) {
  parts_->how = std::move(how);
  mg_init_library(MG_FEATURES_DEFAULT);
  const char* options[] = {"listening_ports", "127.0.0.1:0", "num_threads", "4",
                           "decode_url",      "no",          nullptr};
  const mg_callbacks callbacks{};
  parts_->context = mg_start(&callbacks, nullptr, options);
  mg_server_port listening{};
  if (parts_->context == nullptr || mg_get_server_ports(parts_->context, 1, &listening) != 1)
    throw std::runtime_error("the test's HTTP server does not start");
  port_ = listening.port;
  mg_set_request_handler(parts_->context, "/", &parts::on_request, parts_.get());
}

registry_server::~registry_server() {
  {
    // civetweb's listening thread sees the stop when somebody connects, else seconds later.
    const std::jthread waker([port = port_] {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      char ignored[128];
      if (auto* to = mg_connect_client("127.0.0.1", port, 0, ignored, sizeof ignored);
          to != nullptr)
        mg_close_connection(to);
    });
    mg_stop(parts_->context);
  }
  mg_exit_library();
}

std::string registry_server::url() const {
  return "http://127.0.0.1:" + std::to_string(port_);
}

void registry_server::behave(behaviour how) {
  const std::lock_guard lock(parts_->mutex);
  parts_->how = std::move(how);
}

std::vector<registry_server::request> registry_server::requests() const {
  const std::lock_guard lock(parts_->mutex);
  return parts_->seen;
}

}  // namespace sonder::test
