"""What an evaluation came to, as Markdown and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from search.evaluation.qrels import Kind
from search.evaluation.runs import ANSWERABLE, Run
from search.evaluation.systems import MIXTURES, OURS, OURS_RANKED

_FIGURES: Final = {
    "ndcg": "nDCG@10",
    "reciprocal_rank": "MRR",
    "recall": "R@10",
}


def singles(run: Run) -> list[str]:
    """The ways that are one signal alone."""
    return [name for name in run.figures if name not in {OURS, OURS_RANKED, *MIXTURES}]


def best_single(run: Run, kind: Kind | None = None) -> str:
    """The signal with the highest nDCG, of a kind or over all kinds."""
    return max(singles(run), key=lambda name: run.mean(name, "ndcg", kind))


def as_markdown(run: Run) -> str:
    """All tables."""
    return "\n".join(
        [
            *_by_kind(run, "ndcg"),
            "",
            *_leads(run),
            "",
            *_by_kind(run, "reciprocal_rank"),
            "",
            *_by_kind(run, "recall"),
            "",
            *_ends(run),
        ]
    )


def as_json(run: Run) -> dict[str, Any]:
    """Means by way, kind and figure; None where there is none."""
    return {
        "queries": {kind.value: sum(q.kind is kind for q in run.queries) for kind in run.kinds()},
        "systems": {
            system: {
                (kind.value if kind else "all kinds"): {
                    name: _number(run.mean(system, name, kind))
                    for name in (*_FIGURES, "share", "shown", "irrelevant")
                }
                for kind in (*run.kinds(), None)
            }
            for system in run.figures
        },
        "leads": {
            kind.value: dict(
                zip(("mean", "low", "high"), run.lead(OURS_RANKED, over, kind), strict=True),
                over=over,
            )
            for kind in run.kinds()
            if kind in ANSWERABLE
            for over in [best_single(run, kind)]
        },
    }


def _by_kind(run: Run, figure: str) -> Iterator[str]:
    kinds = [kind for kind in run.kinds() if kind in ANSWERABLE]
    yield from _head([_FIGURES[figure], *kinds, "all kinds"])
    for system in run.figures:
        cells = [_cell(run.mean(system, figure, kind)) for kind in (*kinds, None)]
        yield _row([f"**{system}**" if system in {OURS, OURS_RANKED} else system, *cells])


def _leads(run: Run) -> Iterator[str]:
    yield from _head([f"{OURS_RANKED} over the best signal", "signal", "nDCG@10", "95 % interval"])
    for kind in run.kinds():
        if kind in ANSWERABLE:
            over = best_single(run, kind)
            mean, low, high = run.lead(OURS_RANKED, over, kind)
            yield _row([kind, over, f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}"])
    over = best_single(run)
    ratio = run.mean(OURS_RANKED, "ndcg") / run.mean(over, "ndcg")
    yield _row(["all kinds", over, f"× {ratio:.2f}", ""])


def _ends(run: Run) -> Iterator[str]:
    yield from _head(
        ["shown by ours", "queries", "show nothing", "hits", "irrelevant", "share relevant"]
    )
    for kind in run.kinds():
        shown = run.values(OURS, "shown", kind)
        yield _row(
            [
                kind,
                str(shown.size),
                str(int((shown == 0).sum())),
                f"{shown.mean():.1f}",
                f"{run.mean(OURS, 'irrelevant', kind):.1f}",
                _cell(run.mean(OURS, "share", kind)),
            ]
        )
    yield _row(["all kinds", "", "", "", "", _cell(run.mean(OURS, "share"))])


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
