#include "flow/topic_watch.h"

#include <algorithm>
#include <string>

namespace sonder {

topic_watch::topic_watch(const graph& flow, log& of, std::chrono::milliseconds every) : log_(of), every_(every) {
  const auto add = [&](const topic_options& topic, std::string_view what_for) {
    const bool there = std::any_of(topics_.begin(), topics_.end(), [&](const auto& known) { return known.topic->topic == topic.topic; });
    if (!there) topics_.push_back({&topic, what_for});
  };
  for (const auto& rekey : flow.rekeys) add(rekey.raw.topic, "what is in the new ones is read by nobody");
  for (const auto& source : flow.sources) {
    if (source.topic.role == topic_role::global) add(source.topic, "what is in the new ones is missing in the table");
  }
  for (const auto& sink : flow.sinks) add(sink.topic, "keys belong to other partitions now than this worker writes them to");
  for (const auto& topic : flow.options.topics) {
    if (topic.name == flow.options.dead_letter) add(topic, "nothing is written to the new ones");
  }
  // Of what a group gives out its member finds changes.
  std::erase_if(topics_, [&](const auto& known) {
    return std::any_of(flow.sources.begin(), flow.sources.end(), [&](const auto& source) {
      return source.topic.role != topic_role::global && source.topic.topic == known.topic->topic;
    });
  });
  if (!topics_.empty()) thread_ = std::thread([this] { run(); });
}

topic_watch::~topic_watch() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ends_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::optional<error> topic_watch::changed() const {
  const std::lock_guard lock(mutex_);
  return changed_;
}

bool topic_watch::ending() const {
  const std::lock_guard lock(mutex_);
  return ending_;
}

void topic_watch::run() {
  std::unique_lock lock(mutex_);
  while (!ends_.wait_for(lock, every_, [this] { return ending_ || changed_; })) {
    lock.unlock();
    look();
    lock.lock();
  }
}

void topic_watch::look() {
  for (const auto& [topic, what_for] : topics_) {
    if (ending()) return;
    // Who cannot be asked now is asked again; a topic that is gone shows itself where it is read or written.
    const auto now = log_.partition_count(topic->topic);
    if (!now || *now == topic->partitions) continue;
    const std::lock_guard lock(mutex_);
    changed_ = error{errc::exists, to_string(topic->at) + ": topic \"" + topic->topic + "\" has partitions " + std::to_string(*now) +
                                       " instead of " + std::to_string(topic->partitions) + ", changed while the worker ran: " +
                                       std::string(what_for) + "; set `partitions: " + std::to_string(*now) +
                                       "` and start all workers anew, or move the flow to another topic"};
    return;
  }
}

}  // namespace sonder
