"""The report's charts."""

from __future__ import annotations

from typing import Any

from benchmarks.ingesting import SIZES
from benchmarks.markdown import SYSTEMS
from benchmarks.plots import bars

Results = dict[str, Any]


def charts(results: Results) -> dict[str, str]:
    """SVG charts by file name."""
    search = list(zip(*(results["search"][name] for name in SYSTEMS), strict=True))
    encoders = zip(results["encoders"]["ours-int8"], results["encoders"]["baseline"], strict=True)
    return {
        "latency": bars(
            "Text search over HTTP: P50, lower is better",
            "ms",
            SYSTEMS,
            [(f"{a['clients']} clients", (a["p50"], b["p50"])) for a, b in search],
        ),
        "rate": bars(
            "Text searches a second over HTTP",
            "/s",
            SYSTEMS,
            [(f"{a['clients']} clients", (a["rate"], b["rate"])) for a, b in search],
        ),
        "ingestion": bars(
            "Pictures ingested and embedded a second",
            "/s",
            SYSTEMS,
            [
                (
                    f"{SIZES[row['size']].removesuffix(' JPEG')}, {row['way']}",
                    (row["ours"]["rate"], row["baseline"]["rate"]),
                )
                for row in results["ingestion"]
            ],
        ),
        "encoders": bars(
            "Vectors a second, encoder alone",
            "/s",
            ("ours, int8", "baseline"),
            [
                (
                    f"{a['modality']}, batch {a['batch']}",
                    (a["batch"] * 1000 / a["ms"], b["batch"] * 1000 / b["ms"]),
                )
                for a, b in encoders
            ],
        ),
    }
