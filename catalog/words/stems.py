"""Inflected forms of a word have one stem."""

from __future__ import annotations

import threading
from typing import Final

import Stemmer

LONGEST: Final = 30
"""Letters; what is longer is no word of a language."""
_stemmer_of_thread = threading.local()


def is_word(term: str) -> bool:
    """Whether a term can be misspelt and inflected; codes, numbers and pairs cannot."""
    return 3 <= len(term) <= LONGEST and term.isalpha()


def stem(term: str) -> str:
    """The stem of a folded word, by the English Snowball rules."""
    if not term.isascii():
        return term
    if not hasattr(_stemmer_of_thread, "stemmer"):  # a stemmer is not for several threads
        _stemmer_of_thread.stemmer = Stemmer.Stemmer("english", 0)
    stemmed: str = _stemmer_of_thread.stemmer.stemWord(term)
    return stemmed
