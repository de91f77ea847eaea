#include "avro/registry_tls_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <utility>

namespace sonder::test {

namespace {

void use_new_certificate(SSL_CTX* context, const std::string& file) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  constexpr long hour_s = 3600;
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_set_version(certificate, 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -hour_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), hour_s);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_EXTENSION* names =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost");
  X509_add_ext(certificate, names, -1);
  const bool made = X509_sign(certificate, key, EVP_sha256()) > 0 &&
                    SSL_CTX_use_certificate(context, certificate) == 1 &&
                    SSL_CTX_use_PrivateKey(context, key) == 1;
  std::FILE* out = std::fopen(file.c_str(), "w");
  if (!made || out == nullptr) throw std::runtime_error("no certificate for the test: " + file);
  PEM_write_X509(out, certificate);
  std::fclose(out);
  X509_EXTENSION_free(names);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

}  // namespace

tls_server::tls_server(const std::string& certificate_file, std::string body)
    : body_(std::move(body)) {
  std::signal(SIGPIPE, SIG_IGN);  // a client that refuses us closes while we write
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  context_ = context;
  use_new_certificate(context, certificate_file);
  listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(listening_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(listening_, 8) != 0 ||
      ::getsockname(listening_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    throw std::runtime_error("the test's TLS server does not start");
  port_ = ntohs(at.sin_port);
  thread_ = std::thread([this] { serve(); });
}

tls_server::~tls_server() {
  ::shutdown(listening_, SHUT_RDWR);
  thread_.join();
  ::close(listening_);
  SSL_CTX_free(static_cast<SSL_CTX*>(context_));
}

void tls_server::serve() {
  const std::string answer =
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + std::to_string(body_.size()) +
      "\r\n\r\n" + body_;
  for (int client = -1; (client = ::accept(listening_, nullptr, nullptr)) >= 0;) {
    const timeval patience{5, 0};
    ::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    SSL* session = SSL_new(static_cast<SSL_CTX*>(context_));
    SSL_set_fd(session, client);
    std::string request;
    if (SSL_accept(session) == 1) {
      char chunk[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const int got = SSL_read(session, chunk, sizeof chunk);
        if (got <= 0) break;
        request.append(chunk, static_cast<std::size_t>(got));
      }
      if (!request.empty()) ++requests_;
      SSL_write(session, answer.data(), static_cast<int>(answer.size()));
      SSL_shutdown(session);
    }
    SSL_free(session);
    ::close(client);
  }
}

}  // namespace sonder::test
