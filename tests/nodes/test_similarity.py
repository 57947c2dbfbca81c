"""Similarities against values worked out elsewhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.nodes.similarity import (
    EDIT_CAP,
    SIMILARITIES,
    Similarity,
    edit_similarity,
    levenshtein,
    sentence_bleu,
    similarity_matrix,
    tfidf_matrix,
    tokenize,
)

TEXTS = st.lists(st.text(max_size=30), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("hypothesis", "reference", "score"),
    [
        ("the cat sat on the mat", "the cat sat on the mat", 1.0),
        ("the cat sat on the mat", "the cat sat on a mat", 0.537284965911771),
        ("a b c d e", "a b x d e f", 0.24736929544091932),
        ("hello", "hello world", 0.3678794411714425),
        ("yes", "no", 0.0),
    ],
)
def test_bleu_is_sacrebleus_sentence_score(hypothesis: str, reference: str, score: float) -> None:
    """Values of sacrebleu 2.6.0, `sentence_bleu(h, [r], tokenize="none").score / 100`."""
    assert sentence_bleu(hypothesis, reference) == pytest.approx(score, abs=1e-12)


def test_tfidf_is_the_smoothed_cosine() -> None:
    """Worked by hand: `cat` is in two of two texts (idf 1), the other words in one (idf ln 1.5 + 1)."""
    rare = math.log(1.5) + 1
    assert tfidf_matrix(["cat sat", "cat ran"])[0][1] == pytest.approx(1 / (1 + rare**2))


def test_texts_without_words_in_common_are_unlike() -> None:
    assert tfidf_matrix(["one two", "three four"])[0][1] == 0
    assert tfidf_matrix(["", "three"])[0][1] == 0


def test_case_and_width_do_not_matter_to_words() -> None:
    assert tfidf_matrix(["The Cat!", "the ｃａｔ"])[0][1] == pytest.approx(1)


def test_scripts_without_spaces_are_compared_by_pairs() -> None:
    assert tokenize("東京は日本。Hello") == ["東京", "京は", "は日", "日本", "hello"]
    near, far = similarity_matrix(["東京は首都です", "東京は日本の首都です", "猫が好きだ"])[0][1:]
    assert near > 0.4 > far


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [
        ("kitten", "sitting", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("flaw", "lawn", 2),
        ("a", "a", 0),
        ("é", "e", 1),
    ],
)
def test_levenshtein_distances(left: str, right: str, distance: int) -> None:
    assert levenshtein(left, right) == distance


@given(st.text(alphabet="abc", max_size=12), st.text(alphabet="abc", max_size=12))
def test_levenshtein_agrees_with_the_textbook(left: str, right: str) -> None:
    row = list(range(len(right) + 1))
    for i, here in enumerate(left, 1):
        above, row = row, [i]
        for j, there in enumerate(right, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (here != there)))
    assert levenshtein(left, right) == row[-1]


def test_edit_similarity_looks_at_the_beginning_of_long_texts() -> None:
    assert edit_similarity("a" * EDIT_CAP + "b" * 99, "a" * EDIT_CAP) == 1
    assert edit_similarity("ab", "ac") == 0.5
    assert edit_similarity("", "") == 1


@pytest.mark.parametrize("kind", SIMILARITIES)
@given(texts=TEXTS)
def test_every_similarity_lies_between_0_and_1(kind: Similarity, texts: list[str]) -> None:
    matrix = similarity_matrix(texts, kind)
    assert [len(row) for row in matrix] == [len(texts)] * len(texts)
    assert all(0 <= value <= 1 for row in matrix for value in row)
    assert all(matrix[index][index] == 1 for index in range(len(texts)))


@pytest.mark.parametrize("kind", ["tfidf", "edit"])
@given(texts=TEXTS)
def test_tfidf_and_edit_are_symmetric(kind: Similarity, texts: list[str]) -> None:
    matrix = similarity_matrix(texts, kind)
    assert matrix == [list(column) for column in zip(*matrix, strict=True)]
