#include "lexicon.h"

#include <algorithm>
#include <stdexcept>
#include <unordered_map>

// The gazetteer as it lies in gazetteer/words.tsv, so that its source stays reviewable text.
// NOLINTNEXTLINE(hicpp-no-assembler)
asm(R"(
  .section .rodata
  .global sonder_anonymizer_words_begin
  .hidden sonder_anonymizer_words_begin
sonder_anonymizer_words_begin:
  .incbin ")" SONDER_ANONYMIZER_WORDS R"("
  .global sonder_anonymizer_words_end
  .hidden sonder_anonymizer_words_end
sonder_anonymizer_words_end:
  .previous
)");

extern "C" {
extern const char sonder_anonymizer_words_begin[];
extern const char sonder_anonymizer_words_end[];
}

namespace sonder::anonymizer {
namespace {

constexpr std::size_t flag_sets_max = std::size_t{1} << 16;

struct listed {
  std::uint64_t flags;
  std::string_view words;
};

// Cue words of the rules. Folded, divided by spaces.
constexpr listed lists[] = {
    {honorific,
     "mr mrs ms miss mx dr prof professor doctor sir madam madame rev reverend fr herr frau "
     "monsieur mme senor "
     "senora sr sra signor signora"},
    {greeting,
     "dear hi hello hey hiya howdy thanks thx cheers bye goodbye sincerely regards yours love"},
    {name_cue, "named called nicknamed name"},
    {relation,
     "brother sister husband wife mom mum mother dad father son daughter aunt uncle cousin grandma "
     "grandpa nana "
     "grandmother grandfather boyfriend girlfriend friend bestie boss manager colleague coworker "
     "therapist "
     "teacher nephew niece fiance fiancee partner roommate flatmate neighbour neighbor stepmom "
     "stepdad ex bf gf "
     "singer actor actress president senator minister player director writer author friends kids"},
    {speech_verb,
     "says said asked asks told tells replied replies wrote writes thinks thought texted calls "
     "laughed "
     "smiled cried whispered shouted yelled answered responded explained insisted hugged"},
    {place_cue,
     "in from to at near toward towards visit visiting visited leaving left via outside around "
     "across "
     "reached arrived moved live lives lived"},
    {street_suffix,
     "street st road rd avenue ave lane ln drive boulevard blvd court ct terrace parkway pkwy "
     "highway hwy "
     "crescent cres close gardens grove mews bypass causeway turnpike expressway alley squares "
     "streets "
     "square sq strasse str gasse weg platz allee laan straat gatan gata vagen vei vej gade katu "
     "tie utca u ut "
     "ter ulice ulica ulitsa prospekt cad sok caddesi sokak place plaza way"},
    {street_prefix,
     "rua via viale piazza corso calle avenida avda rambla largo travessa rue boulevard chaussee "
     "quai "
     "ul ulica aleja plac os ulitsa paseo camino carrer plaza ctra strada bulevardul leof leoforos "
     "λεωφορος οδος ул улица"},
    {unit_word, "apt apartment suite ste unit flat psc box"},
    {org_suffix,
     "inc corp corporation ltd llc plc gmbh ag co company technologies associates partners sons "
     "group limited "
     "holdings industries solutions systems labs llp foundation institute university orchestra "
     "hospital "
     "college bank sa srl oy ab bv nv"},
    {month,
     "january february march april may june july august september october november december jan "
     "feb mar apr jun "
     "jul aug sep sept oct nov dec"},
    {weekday, "monday tuesday wednesday thursday friday saturday sunday"},
    {birth_cue, "born birthday birthdate dob birth"},
    {age_cue, "age aged turning turn turned turns old yo y/o yrs"},
    {phone_cue,
     "phone telephone tel mobile cell cellphone fax call calling number text whatsapp reach ring "
     "dial office "
     "landline messages contact"},
    {id_cue,
     "ssn social security license licence passport bsn burgerservicenummer sofinummer nhs sin "
     "insurance "
     "driver driver's identification id pesel"},
    {nhs_cue, "nhs patient"},
    {ssn_cue, "ssn social"},
    {bsn_cue, "bsn burgerservicenummer sofinummer"},
    {sin_cue, "sin nas insurance"},
    {licence_cue, "license licence driver drivers driver's dl identification passport"},
    {postal_cue, "zip zipcode postcode postal plz"},
    {username_cue,
     "username usernames user userid login handle nick nickname insta instagram reddit discord "
     "snapchat gamertag screenname"},
    {military_post, "apo fpo dpo"},
    {military_ship, "usns uss usnv uscgc usnm"},
    {name_particle,
     "van von der den de da do dos das del della di la le du bin ibn al el ben ter ten zu af ap"},
    {function_word,
     "i you he she it we they me him her us them my your his its our their mine yours this that "
     "these those a an the and or "
     "but if so because while when where what who whom whose which why how not no yes yeah yep "
     "nope ok okay oh ah well is am "
     "are was were be been being do does did done have has had having will would can could should "
     "shall may might must im "
     "i'm i've i'd i'll it's that's there's he's she's we're they're you're don't didn't can't "
     "won't isn't aren't wasn't "
     "doesn't let's lets for from with without at by in on of to as than then there here now just "
     "very too also only even "
     "still never always sometimes maybe perhaps please thank thanks sorry hello hi hey good great "
     "bad nice happy sad today "
     "tomorrow yesterday tonight after before during since until again once every each all any "
     "some both few more most much "
     "many such own same other another one two three four five six seven eight nine ten first last "
     "next new old after "
     "everyone everything someone something nobody nothing anyone anything god lord jesus christ "
     "christmas easter "
     "thanksgiving halloween english spanish mom mum dad mama papa mommy daddy grandma grandpa "
     "covid tv dvd cd pm am ok lol "
     "omg wtf idk tbh etc vs "
     "iban bot user subject date name phone address mission statement fwd re"},
};

std::uint64_t flags_of(std::string_view letters) {
  std::uint64_t flags = 0;
  for (const char letter : letters) {
    switch (letter) {
      case 'f':
        flags |= first_name;
        break;
      case 'F':
        flags |= frequent_first_name;
        break;
      case 'l':
        flags |= last_name;
        break;
      case 'c':
        flags |= place;
        break;
      case 'C':
        flags |= large_place;
        break;
      case 'n':
        flags |= country;
        break;
      case 'r':
        flags |= nationality;
        break;
      case 's':
        flags |= province;
        break;
      case 'w':
        flags |= everyday;
        break;
      case 'W':
        flags |= very_common;
        break;
      case 'v':
        flags |= rare_word;
        break;
      case 'p':
        flags |= starts_phrase;
        break;
      default:
        throw std::runtime_error("gazetteer: unknown letter");
    }
  }
  return flags;
}

// Which of `begins_small` and the like a word with these flags has.
std::uint64_t begins(std::uint64_t flags) {
  const auto has = [flags](std::uint64_t any) { return (flags & any) != 0; };
  const bool small = !has(everyday) && ((has(any_name) && !has(function_word)) || has(nationality));
  const bool capital = !has(function_word) || has(honorific | starts_phrase | nationality);
  return std::uint64_t{small} << begins_small_bit | std::uint64_t{capital} << begins_capital_bit |
         std::uint64_t{has(begins_name)} << begins_caseless_bit;
}

}  // namespace

/// Puts the words in. A word that comes again has the flags of both.
class lexicon::reader {
 public:
  explicit reader(lexicon& into) : into_(into) {}

  void add(std::string_view folded, std::uint64_t flags) {
    if (folded.empty() || folded.size() > word_bytes_max) return;
    word_buffer padded{};
    folded.copy(padded.data(), folded.size());
    flags |= into_.find({padded.data(), folded.size()});
    const auto [number, added] = numbers_.try_emplace(flags, into_.flag_sets_.size());
    if (added) into_.flag_sets_.push_back(flags);
    if (number->second >= flag_sets_max)
      throw std::length_error("gazetteer: too many sets of flags");
    into_.words_.set(folded, static_cast<std::uint16_t>(number->second));
  }

 private:
  lexicon& into_;
  std::unordered_map<std::uint64_t, std::size_t> numbers_;
};

lexicon::lexicon() {
  const std::string_view table(
      sonder_anonymizer_words_begin,
      static_cast<std::size_t>(sonder_anonymizer_words_end - sonder_anonymizer_words_begin));
  reader reading(*this);
  for (std::size_t at = 0; at < table.size();) {
    const std::size_t tab = table.find('\t', at);
    const std::size_t end = table.find('\n', at);
    if (tab == std::string_view::npos || end == std::string_view::npos || tab > end) {
      throw std::runtime_error("gazetteer: a line without its flags");
    }
    const std::string_view words = table.substr(at, tab - at);
    reading.add(words, flags_of(table.substr(tab + 1, end - tab - 1)));
    if (const std::size_t space = words.find(' '); space != std::string_view::npos) {
      const std::string_view more = words.substr(space + 1);
      reading.add(more.substr(0, more.find(' ')), continues_phrase);
    }
    at = end + 1;
  }
  for (const auto& list : lists) {
    for (std::size_t at = 0; at < list.words.size();) {
      const std::size_t end = std::min(list.words.find(' ', at), list.words.size());
      if (end > at) reading.add(list.words.substr(at, end - at), list.flags);
      at = end + 1;
    }
  }
  for (std::uint64_t& each : flag_sets_) each |= begins(each);
}

}  // namespace sonder::anonymizer
