"""Words are counted by jiwer; rapidfuzz only chooses which lines belong together."""

from __future__ import annotations

import jiwer
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from pipelines.measures.character_errors import TextLine
from pipelines.measures.word_errors import word_distance, word_errors

word = st.text("abcde", min_size=1, max_size=3)
words = st.lists(word, max_size=8)


@settings(max_examples=200, deadline=None)
@given(read=words, truth=words)
def test_both_libraries_count_the_same(read: list[str], truth: list[str]) -> None:
    found = jiwer.process_words(" ".join(truth), " ".join(read))
    counted = found.substitutions + found.deletions + found.insertions
    assert word_distance(read, truth) == counted == Levenshtein.distance(read, truth)


@settings(max_examples=50, deadline=None)
@given(st.lists(words.filter(bool), min_size=1, max_size=5))
def test_moved_lines_cost_nothing_and_wrong_words_cost_one(lines: list[list[str]]) -> None:
    truth = [TextLine(" ".join(line)) for line in lines]
    read = [*truth[1:], truth[0]]
    total = sum(map(len, lines))
    assert word_errors(read, truth) == (0, total)
    wrong = [*truth[1:], TextLine(truth[0].text + "zz")]
    assert word_errors(wrong, truth) == (1, total)


def test_lines_without_words_are_no_errors() -> None:
    assert word_errors([], []) == (0, 0)
    assert word_errors([TextLine(" \t")], [TextLine("a b")]) == (2, 2)
    assert word_errors([TextLine("a b")], []) == (2, 0)
