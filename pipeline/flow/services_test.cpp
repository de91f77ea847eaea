#include "flow/services.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>
#include <thread>

#include "flow/flow_rig.h"
#include "flow/stage_runner.h"
#include "plugin/plugin_call.h"

namespace {
thread_local bool no_memory = false;
}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
  void* made = no_memory ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (made == nullptr) throw std::bad_alloc();
  return made;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return no_memory ? nullptr : std::malloc(size == 0 ? 1 : size); }
[[gnu::noinline]] void operator delete(void* made) noexcept { std::free(made); }
[[gnu::noinline]] void operator delete(void* made, std::size_t) noexcept { std::free(made); }

// What the contract says of services, as a plugin's side of the line sees it.
namespace sonder {
namespace {

class Services : public testing::Test {
 protected:
  void start(const std::string& plugin, const std::string& port, const std::string& from) {
    rig.file("event.avsc", plain_event_schema);
    rig.flow("flow: t\nlog: {kind: embedded, dir: data}\ndead_letter: none\ntopics:\n"
             "  events: {schema: event.avsc, subject: subject_id, event_time: at, partitions: 1}\n"
             "  out: {schema: event.avsc, partitions: 1}\n"
             "stages:\n  it: {plugin: " + plugin + ", in: {" + port + ": events}}\nsinks:\n  out: " + from + "\n");
    flow = std::make_shared<const graph>(rig.checked());
    module = stage_module::create(flow->stages.at(0), secret_box::read(flow->options).value(), nullptr, calls).value();
    services = std::make_unique<instance_services>(*flow, flow->stages[0], module->services(), rig.on(), 0);
  }
  void begin_call() { services->begin_call(0, space, nullptr, 0, 7, 8); }
  template <class Service>
  const Service& service(const char* id) {
    return *static_cast<const Service*>(services->host().service(&services->host(), id));
  }
  static sonder_bytes bytes(const std::string& of) { return {reinterpret_cast<const std::uint8_t*>(of.data()), of.size()}; }

  flow_rig rig;
  std::shared_ptr<const graph> flow;
  call_watch calls;
  std::unique_ptr<stage_module> module;
  std::unique_ptr<instance_services> services;
  row_space space;
};

TEST_F(Services, TellTheTimeOnlyInsideOfACallAndOnItsThread) {
  start("hoarder", "texts", "it.out");
  const auto& clock = service<sonder_clock_service>("clock/1");
  EXPECT_EQ(clock.event_time_ms(clock.ctx), INT64_MIN);
  EXPECT_EQ(services->violations(), 1U);
  begin_call();
  EXPECT_EQ(clock.event_time_ms(clock.ctx), 7);
  EXPECT_EQ(clock.processing_time_ms(clock.ctx), 8);
  EXPECT_EQ(services->violations(), 1U);
  std::thread([&] { EXPECT_EQ(clock.processing_time_ms(clock.ctx), 0); }).join();
  services->end_call(true);
  EXPECT_EQ(services->violations(), 2U);
}

TEST_F(Services, WriteLinesOnlyInsideOfACallIntoTheirPlugin) {
  start("hoarder", "texts", "it.out");
  const auto& log = service<sonder_log_service>("log/1");
  log.write(log.ctx, SONDER_LOG_INFO, {"late", 4});
  EXPECT_EQ(module->services().violations(), 1U);
  const plugin_call inside(module->whose());
  log.write(log.ctx, SONDER_LOG_INFO, {"now", 3});
  std::thread([&] { log.write(log.ctx, SONDER_LOG_INFO, {"beside", 6}); }).join();
  EXPECT_EQ(module->services().violations(), 2U);
}

TEST_F(Services, AnswerFatalWhereMemoryRunsOutAndThrowNothing) {
  start("hoarder", "texts", "it.out");
  const auto& state = service<sonder_state_service>("state/1");
  const std::string value(1 << 19, 'v');
  begin_call();
  no_memory = true;
  const auto answer = state.put(state.ctx, 0, bytes("key"), bytes(value));
  no_memory = false;
  EXPECT_EQ(answer, SONDER_FATAL);
  ASSERT_FALSE(services->failure());
  EXPECT_EQ(services->failure().error().code, errc::internal);
  services->end_call(false);
  begin_call();
  EXPECT_EQ(state.put(state.ctx, 0, bytes("key"), bytes(value)), SONDER_OK);
  services->end_call(true);
}

TEST_F(Services, CountNoMetricThatIsNoneNorAnAmountThatSpoilsIt) {
  start("misbehaving", "texts", "events");
  const auto& metrics = service<sonder_metrics_service>("metrics/1");
  begin_call();
  metrics.add(metrics.ctx, 0, 0, 2);
  metrics.add(metrics.ctx, 99, 0, 1);
  metrics.add(metrics.ctx, 0, 1, 1);
  for (const double amount : {-1.0, std::nan(""), std::numeric_limits<double>::infinity()}) metrics.add(metrics.ctx, 0, 0, amount);
  services->end_call(true);
  EXPECT_EQ(services->metrics().series().at(0).amount, 2);
  EXPECT_EQ(services->metric_violations(), 5U);
  EXPECT_EQ(services->violations(), 0U);
}

}  // namespace
}  // namespace sonder
