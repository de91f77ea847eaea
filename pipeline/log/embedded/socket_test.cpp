#include "log/embedded/socket.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <cstring>
#include <thread>

#include "log/embedded/log_fixture.h"
#include "log/embedded/unix_socket.h"
#include "log/embedded/write_protocol.h"

namespace sonder {
namespace {

using embedded::descriptor;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class WriteSocket : public log_test {
 protected:
  ~WriteSocket() override { server_.reset(); }

  void serve() {
    auto started = write_server::start(*log_);
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }
  [[nodiscard]] std::unique_ptr<class log> client() const {
    auto opened = open_for_append(folder_, plain());
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }
  [[nodiscard]] descriptor raw_connection() const {
    const auto address = embedded::worker_address(folder_);
    descriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->address),
                        sizeof address->address),
              0);
    const timeval patience{20, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return socket;
  }
  // Everything that comes until the other side closes.
  static std::string received_until_closed(const descriptor& from) {
    std::string all;
    char bytes[4096];
    for (ssize_t got; (got = ::recv(from.get(), bytes, sizeof bytes, 0)) > 0;)
      all.append(bytes, static_cast<std::size_t>(got));
    return all;
  }

  std::unique_ptr<write_server> server_;
};

TEST_F(WriteSocket, AppendsBesideAWorkerThatHoldsTheFolder) {
  open();
  serve();
  auto other = client();
  must(other->create_topic(
      {.name = "t", .partitions = 2, .retention_ms = 5, .record_bytes_max = 1000}));
  must(append_to(*other, "t", 1, {{"a", "1"}, {"b", std::nullopt}}));
  must(append_to(*log_, "t", 1, {{"c", "3"}}));
  must(other->set_note("schemas", "one"));
  EXPECT_THAT(read_all(*log_, "t", 1), ElementsAre("0 a=1", "1 b=-", "2 c=3"));
  EXPECT_THAT(read_all(*other, "t", 1), ElementsAre("0 a=1", "1 b=-", "2 c=3"));
  EXPECT_EQ(log_->describe("t")->retention_ms, 5);
  EXPECT_EQ(*log_->note("schemas"), "one");
  EXPECT_EQ(*other->note("schemas"), "one");
}

TEST_F(WriteSocket, OpensTheFolderItselfWhereNobodyHoldsIt) {
  auto own = client();
  must(own->create_topic({.name = "t"}));
  must(append_to(*own, "t", 0, {{"a", "1"}}));
  EXPECT_THAT(read_all(*own, "t"), ElementsAre("0 a=1"));
}

TEST_F(WriteSocket, CarriesErrorsOver) {
  open();
  serve();
  auto other = client();
  const auto missing = append_to(*other, "nope", 0, {{"a", "1"}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, errc::not_found);
  EXPECT_THAT(missing.error().message, HasSubstr("topic \"nope\""));
  must(other->create_topic({.name = "t"}));
  const auto differs = other->create_topic({.name = "t", .partitions = 3});
  ASSERT_FALSE(differs);
  EXPECT_EQ(differs.error().code, errc::exists);
  EXPECT_EQ(other->commit({}).error().code, errc::unavailable);
}

TEST_F(WriteSocket, RefusesWhereTheHolderServesNobody) {
  open();
  const auto opened = open_for_append(folder_, plain());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, errc::unavailable);
  EXPECT_THAT(opened.error().message, HasSubstr(std::to_string(::getpid())));
  EXPECT_THAT(opened.error().message, HasSubstr("takes no writes of others"));
}

TEST_F(WriteSocket, GoesOnOnceTheWorkerHasGone) {
  open();
  topic({.name = "t"});
  serve();
  std::thread leaves([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    server_.reset();
    log_.reset();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  auto other = client();
  leaves.join();
  const auto lost = append_to(*other, "t", 0, {{"a", "1"}});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, errc::io);
  other = client();
  must(append_to(*other, "t", 0, {{"b", "2"}}));
  EXPECT_THAT(read_all(*other, "t"), ElementsAre("0 b=2"));
}

TEST_F(WriteSocket, IsItsOwnersOnly) {
  open();
  serve();
  struct stat found;
  ASSERT_EQ(::stat((folder_ / "worker.sock").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
}

TEST_F(WriteSocket, WorksInAFolderWithALongPath) {
  const auto top = folder_;
  folder_ /= std::string(60, 'a');
  folder_ /= std::string(60, 'b');
  open();
  serve();
  auto other = client();
  must(other->create_topic({.name = "t"}));
  other.reset();
  server_.reset();
  log_.reset();
  folder_ = top;
}

TEST_F(WriteSocket, AnswersHostileInputAndServesOn) {
  open();
  topic({.name = "t"});
  serve();
  auto batch = batch_of({{"a", "1"}});
  const produced_batch produced{"t", 0, &batch};
  const std::string good = *embedded::encode_append({&produced, 1});
  const auto sends = [&](std::string_view bytes) {
    const descriptor socket = raw_connection();
    EXPECT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    ::shutdown(socket.get(), SHUT_WR);
    return received_until_closed(socket);
  };
  EXPECT_THAT(sends(std::string(4, '\xff')), HasSubstr("length that is not allowed"));
  EXPECT_THAT(sends(std::string(4, '\0')), HasSubstr("length that is not allowed"));
  EXPECT_THAT(sends(std::string("\x02\0\0\0\x09\x01", 6)),
              HasSubstr("version 9, this worker speaks 1"));
  EXPECT_THAT(sends(std::string("\x02\0\0\0\x01\x09", 6)), HasSubstr("unknown operation"));
  EXPECT_THAT(sends("\x40"), SizeIs(0));
  // Each single damaged byte of a good request: an answer, never a half appended batch.
  for (std::size_t i = 4; i < good.size(); ++i) {
    std::string damaged = good;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x41);
    EXPECT_GE(sends(damaged).size(), 5u) << "byte " << i;
  }
  EXPECT_EQ(log_->offsets("t", 0)->end, 0);
  EXPECT_EQ(sends(good + good), std::string("\x01\0\0\0\0\x01\0\0\0\0", 10));
  EXPECT_EQ(log_->offsets("t", 0)->end, 2);
}

TEST_F(WriteSocket, ServesABoundedNumberOfWriters) {
  open();
  serve();
  std::vector<descriptor> held;
  for (std::size_t i = 0; i < embedded::write_limits::connections_max; ++i)
    held.push_back(raw_connection());
  EXPECT_THAT(received_until_closed(raw_connection()), HasSubstr("too many writers"));
  held.clear();
  auto other = client();
  must(other->create_topic({.name = "t"}));
}

TEST_F(WriteSocket, TakesManyWritersAtOnce) {
  open();
  topic({.name = "t"});
  serve();
  constexpr int writers = 6, appends = 50;
  std::vector<std::thread> threads;
  for (int w = 0; w < writers; ++w) {
    threads.emplace_back([&] {
      auto own = client();
      for (int i = 0; i < appends; ++i)
        must(append_to(*own, "t", 0, {{"k", std::string(2000, 'v')}}));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(log_->offsets("t", 0)->end, writers * appends);
}

}  // namespace
}  // namespace sonder
