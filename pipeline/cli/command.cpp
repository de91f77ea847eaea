#include "cli/command.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <iostream>

namespace sonder::cli {

int refuse(int code, std::string_view message) {
  std::cerr << "sonder: " << message << '\n';
  return code;
}
int refuse(int code, const error& e) {
  return refuse(code, e.message);
}

bool somebody_looks() {
  return ::isatty(STDERR_FILENO) == 1;
}

progress_line::progress_line(bool quiet) : on_(!quiet && somebody_looks()) {}

progress_line::~progress_line() {
  clear();
}

void progress_line::clear() {
  if (dirty_) std::cerr << "\r\x1b[K" << std::flush;
  dirty_ = false;
}

void progress_line::show(const std::string& text) {
  if (!on_) return;
  std::cerr << "\r\x1b[K" << text << std::flush;
  dirty_ = true;
}

std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  return digits;
}

std::string counted(std::uint64_t number, const std::string& one) {
  return grouped(number) + " " + one + (number == 1 ? "" : "s");
}

text_table::text_table(std::vector<std::string> head) {
  rows_.push_back(std::move(head));
}

void text_table::add(std::vector<std::string> row) {
  row.resize(rows_.front().size());
  rows_.push_back(std::move(row));
}

namespace {

bool is_number(const std::string& cell) {
  return !cell.empty() && std::all_of(cell.begin(), cell.end(), [](unsigned char c) {
    return std::isdigit(c) != 0 || c == ',' || c == '.' || c == '-' || c == '/' || c == 's' ||
           c == '%';
  }) && std::any_of(cell.begin(), cell.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

// Characters, not bytes: names may hold any letters. Combining marks are not looked at; a table may
// then be a little ragged.
std::size_t width(const std::string& cell) {
  return static_cast<std::size_t>(std::count_if(cell.begin(), cell.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

std::string text_table::text() const {
  std::vector<std::size_t> widths(rows_.front().size());
  std::vector<bool> right(widths.size(), rows_.size() > 1);
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    for (std::size_t c = 0; c < widths.size(); ++c) {
      widths[c] = std::max(widths[c], width(rows_[r][c]));
      if (r != 0 && !rows_[r][c].empty() && !is_number(rows_[r][c])) right[c] = false;
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - width(row[c]), ' ');
      line += right[c] ? pad + row[c] : row[c] + pad;
      line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

}  // namespace sonder::cli
