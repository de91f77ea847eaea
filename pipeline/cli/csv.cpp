#include "cli/csv.h"

#include <istream>
#include <streambuf>

#include "record/number_of.h"

namespace sonder::cli {
namespace {

constexpr int end_of_input = std::char_traits<char>::eof();

}  // namespace

csv_reader::csv_reader(std::istream& from, char separator) : from_(from), separator_(separator) {}

int csv_reader::peek() {
  return from_.rdbuf()->sgetc();
}

int csv_reader::take() {
  const int c = from_.rdbuf()->sbumpc();
  if (c == '\n') ++line_;
  ++record_bytes_;
  return c;
}

tl::unexpected<error> csv_reader::broken(const std::string& what) const {
  return fail(errc::invalid, "line " + std::to_string(line_) + ": " + what);
}

// After the opening quote, up to and with the closing one.
status csv_reader::read_quoted(std::string& cell) {
  while (true) {
    if (record_bytes_ > record_bytes_max)
      return broken("a record is longer than " + std::to_string(record_bytes_max) +
                    " bytes; is a quote missing?");
    const int c = take();
    if (c == end_of_input)
      return fail(errc::invalid,
                  "line " + std::to_string(record_line_) +
                      ": the record that begins here has a quote that nothing closes");
    if (c != '"') {
      cell.push_back(static_cast<char>(c));
    } else if (peek() == '"') {
      take();
      cell.push_back('"');
    } else {
      break;
    }
  }
  const int after = peek();
  if (after == separator_ || after == '\n' || after == '\r' || after == end_of_input) return {};
  return broken("text after a closing quote; a quote inside a quoted cell is written twice");
}

status csv_reader::read_plain(std::string& cell) {
  for (int c = peek(); c != separator_ && c != '\n' && c != '\r' && c != end_of_input; c = peek()) {
    if (c == '"')
      return broken(
          "a quote inside a cell that does not begin with one; put the whole cell in quotes");
    if (record_bytes_ > record_bytes_max)
      return broken("a record is longer than " + std::to_string(record_bytes_max) + " bytes");
    cell.push_back(static_cast<char>(take()));
  }
  return {};
}

result<bool> csv_reader::next(std::vector<std::string>& cells) {
  if (!began_) {
    began_ = true;
    for (const int mark : {0xEF, 0xBB, 0xBF}) {
      if (peek() != mark) break;
      take();
    }
  }
  cells.clear();
  record_line_ = line_;
  record_bytes_ = 0;
  if (peek() == end_of_input) return false;
  while (true) {
    if (cells.size() == cells_max)
      return broken("a record has more than " + std::to_string(cells_max) + " cells");
    auto& cell = cells.emplace_back();
    if (peek() == '"') {
      take();
      SONDER_TRY(read_quoted(cell));
    } else {
      SONDER_TRY(read_plain(cell));
    }
    const int c = take();
    if (c == separator_) continue;
    if (c == '\r' && take() != '\n') return broken("a carriage return that no line feed follows");
    break;
  }
  if (cells_first_ == 0) cells_first_ = cells.size();
  if (cells.size() != cells_first_)
    return fail(errc::invalid, "line " + std::to_string(record_line_) + ": " + number_of(cells.size(), "cell") +
                                   " where the first line has " + std::to_string(cells_first_));
  return true;
}

}  // namespace sonder::cli
