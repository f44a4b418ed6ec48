"""Where the training steps read and write."""

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
WORK: Final = REPOSITORY / "training" / "work"
PACKAGES: Final = WORK / "packages"
PICTURES: Final = WORK / "pictures"
DEMO: Final = REPOSITORY / "demo"
STARTER: Final = REPOSITORY / "embeddings" / "starter"
QUERIES: Final = REPOSITORY / "training" / "queries.jsonl"
