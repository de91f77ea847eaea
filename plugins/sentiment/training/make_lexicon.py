#!/usr/bin/env python3
"""Writes plugins/sentiment/lexicon.tsv from VADER's two lexicon files (Hutto & Gilbert 2014, MIT licence).

Keeps what the scorer reads: the mean rating of each term and the English name of each emoji; marks terms that are
also people's names and terms of low activation. Run it from the project's root; the input is looked for in
SONDER_DATA, else in ../shared/data.
"""
import os
import pathlib
import sys

# Terms that are names first of all: written with a capital anywhere, they are one. `tia` ("thanks in advance") has no
# valence at all: the name is the far commoner reading, however it is written.
DROPPED = {"tia"}
NAMES = set("grace faith charity dick lowe".split())
# Given names and surnames that are as often words: a capital inside a sentence makes them a name, at its start only
# a verb does that people are the subject of.
WORDS_AND_NAMES = set(
    "joy hope mercy bliss harmony precious merry earnest rich lucky sunny champ honor honour noble grant justice "
    "liberty glory treasure miracle cherish darling jewel savage hardy swift brave moody heaven peace divinity gallant "
    "freedom".split())
# Feelings of low activation (the lower half of the circumplex, Russell 1980): they move valence, hardly arousal.
QUIET_STEMS = (
    "calm peace seren relax content tranquil gentl quiet comfort eas sooth mellow satisf safe secur rest bore boring "
    "tired weary sleep lone lonel sad depress gloom melanchol apath dull miser hopeless grief griev sorrow mourn "
    "disappoint regret empt numb exhaust fatigue lethar").split()

NOT_QUIET_STEMS = ("restless", "restrict", "restor", "contentio", "grievan", "grievous", "comforter", "bore", "boree",
                   "easel", "easement", "numbfish", "numbat", "number", "numbskull", "peacenik", "relaxin", "securit")
NOT_QUIET_EXCEPT = ("bored", "boredom", "bores", "bore", "relaxing")

HEADER = """\
Derived from vader_lexicon.txt and emoji_utf8_lexicon.txt of VADER (C.J. Hutto & E.E. Gilbert, "VADER: A Parsimonious
Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014), by plugins/sentiment/training/make_lexicon.py.
Do not edit. Rows: w <term> <mean rating, -4..4> [flags], and e <emoji> <name>. Flags: d no valence, n a name, m a word or
a name, q low activation.

The MIT License (MIT)

Copyright (c) 2016 C.J. Hutto

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def rows(path, columns):
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if line.strip("\r\n"):
            yield line.rstrip("\r\n").split("\t")[:columns]


def quiet(term):
    if term.startswith(NOT_QUIET_STEMS) and term not in NOT_QUIET_EXCEPT:
        return False
    return any(term.startswith(stem) and len(term) <= len(stem) + 6 for stem in QUIET_STEMS)


def main():
    source = pathlib.Path(os.environ.get("SONDER_DATA", "../shared/data")) / "vader"
    target = pathlib.Path("plugins/sentiment/lexicon.tsv")
    if not source.is_dir():
        sys.exit(f"{source}: not found; set SONDER_DATA to the folder that holds vader/")
    ratings = {}
    for term, mean in rows(source / "vader_lexicon.txt", 2):
        # Terms are looked up folded and never contain a space, so neither upper case nor spaces can match.
        if term == term.lower() and " " not in term:
            ratings[term] = float(mean)
    pictures = {}
    for emoji, name in rows(source / "emoji_utf8_lexicon.txt", 2):
        if len(emoji) == 1:  # the scorer reads a sequence by its first picture
            pictures[emoji] = name.strip().lower()
    with target.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"# {line}".rstrip() + "\n" for line in HEADER.splitlines())
        for term, mean in sorted(ratings.items()):
            flags = ("d" * (term in DROPPED) + "n" * (term in NAMES) + "m" * (term in WORDS_AND_NAMES) +
                     "q" * quiet(term))
            out.write(f"w\t{term}\t{mean:g}" + (f"\t{flags}" if flags else "") + "\n")
        for emoji, name in sorted(pictures.items()):
            out.write(f"e\t{emoji}\t{name}\n")
    print(f"{target}: {len(ratings)} terms, {len(pictures)} emoji")


if __name__ == "__main__":
    main()
