#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "record/result.h"

namespace sonder {

struct trial_options {
  std::string config_json = "{}";
  std::string port;  ///< of the manifest's inputs; empty: its first event port
  std::string purpose = "ServicePersonalisation";
  std::int32_t batch_rows = 256;
  std::int64_t deadline_ms = 30'000;  ///< a call that takes longer ends the process with exit code 70
};

struct trial_summary {
  std::uint64_t rows = 0;  ///< = passed + dropped + dead_lettered + retried
  std::uint64_t passed = 0;
  std::uint64_t dropped = 0;
  std::uint64_t dead_lettered = 0;  ///< rows that could not be read included
  std::uint64_t retried = 0;        ///< asked to be offered again; a trial does not
  std::uint64_t unreadable = 0;
};

/// Runs JSON objects, one a line, through one plugin, and writes one JSON object a line in the same
/// order:
///
///     {"row":0,"verdict":"pass","columns":{"valence":0.42}}
///     {"row":1,"verdict":"drop","reason":"too_long"}
///
/// `columns` holds what the plugin writes; `emitted` the rows that it made of this one, `purposes`
/// what a consent authority allowed. Fields that the plugin does not read are passed over; a read
/// that the rows lack must be optional or the row is a dead letter with reason `unreadable`. No
/// log, no consent, nothing kept; the plugin sees SONDER_HOST_TRIAL. Rows stream: memory does not
/// grow with their number; lines appear as soon as a batch is done.
///
/// Errors: the plugin cannot be loaded or refuses its configuration; or, with errc::unavailable, it
/// could not go on or the output could not be written; the rows before that are out.
[[nodiscard]] result<trial_summary> run_trial(const std::string& plugin_path,
                                              const trial_options& options, std::istream& in,
                                              std::ostream& out);

}  // namespace sonder
