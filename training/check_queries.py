"""Verifies that the evaluation queries are sound.

Run: ``python -m training.check_queries``. Every query is written once, stands beside no picture
in training, and accepts only pictures that the catalogue has.
"""

from training.corpus import catalogue_texts, plain
from training.evaluate import load_items, load_queries

EXPECTED = 200


def main() -> None:
    """Exit with a message if anything is wrong."""
    queries = load_queries()
    known = {plain(text) for text in catalogue_texts()}
    identifiers = {item.identifier for item in load_items()}
    asked = [plain(query.text) for query in queries]
    problems = [f"{text!r} is a training caption" for text in asked if text in known]
    problems += [f"{text!r} is asked twice" for text in set(asked) if asked.count(text) > 1]
    problems += [
        f"{query.text!r} accepts what is not in the catalogue"
        for query in queries
        if not query.accepted or query.accepted - identifiers
    ]
    if len(queries) != EXPECTED:
        problems.append(f"{len(queries)} queries, not {EXPECTED}")
    if problems:
        raise SystemExit("\n".join(problems))
    accepted = sum(len(query.accepted) for query in queries) / len(queries)
    print(f"{len(queries)} queries, none a training caption, {accepted:.1f} accepted each")


if __name__ == "__main__":
    main()
