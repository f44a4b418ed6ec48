"""Install into .venv what a start or a check needs; run by make, on the standard library alone.

What it imports of the application (`naming`) needs no more either.

`python3 mmsearch_project/installation.py run|all|dev|scale-dev`: what the configured model needs,
everything, that and the tools of development, or those and servers to test on. Does nothing where
that is installed already.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
FILES = {
    "serve": ("requirements-serve.txt",),
    "all": ("requirements-serve.txt", "requirements.txt"),
    "dev": (
        "requirements-serve.txt",
        "requirements.txt",
        "requirements-scale.txt",
        "requirements-dev.txt",
    ),
    "scale-dev": (
        "requirements-serve.txt",
        "requirements.txt",
        "requirements-scale.txt",
        "requirements-dev.txt",
        "requirements-scale-dev.txt",
    ),
}
"""The last file of each set brings in those before it."""
SIZES = {
    "serve": "what serving needs: about 140 MB to download, 490 MB on disk",
    "all": "what preparing models needs, too: PyTorch, 0.3 to 2.9 GB to download",
    "dev": "everything, and the tools of development: 0.3 to 2.9 GB to download",
    "scale-dev": "everything, the tools of development, and servers: 0.4 to 3.0 GB to download",
}
PIP_SOURCES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX")
LARGE = re.compile(r"\s*Downloading (\S+?) \((\d[\d.]* [MG]B)\)")


def wanted(environ: Mapping[str, str]) -> str:
    """The set that a start needs: the starter comes prepared, any other model has to be."""
    model = chosen_model(environ) or last_model(environ)
    on_gpu = environ.get("MMSEARCH_DEVICE", "").strip() == "cuda"
    return "serve" if model in ("", "starter") and not on_gpu else "all"


def chosen_model(environ: Mapping[str, str]) -> str:
    return environ.get("MMSEARCH_MODEL", "").strip()


def last_model(environ: Mapping[str, str]) -> str:
    """What the last start used."""
    data_dir = Path(environ.get("MMSEARCH_DATA_DIR", "").strip() or ROOT / "data")
    if not (data_dir / "model").is_file():
        return ""
    return (data_dir / "model").read_text(encoding="utf-8").partition("\n")[0].strip()


def refuse_misnamed(environ: Mapping[str, str]) -> None:
    """Raise SystemExit where the chosen model cannot be one: before gigabytes come for it.

    That of the last start may be served from what was prepared then, whatever became of its files.
    """
    sys.path.insert(0, str(ROOT))
    from embeddings.encoders.finding.naming import misnamed

    model = chosen_model(environ)
    if model and model != last_model(environ) and (problem := misnamed(model)):
        raise SystemExit(f"mmsearch: MMSEARCH_MODEL={model}: {problem}")


def install(chosen: str) -> None:
    """Have the set installed. Raises SystemExit with the mend."""
    if is_installed(chosen):
        return
    ensure_venv()
    say(f"Installing {SIZES[chosen]}, once …")
    files = ("--requirement", FILES[chosen][-1], "--constraint", "constraints.txt")
    if not (with_uv(files) or with_pip(files)):
        raise SystemExit(
            "mmsearch: the installation failed; the lines above say why. The next try goes on"
            " from here."
        )
    for smaller in list(FILES)[: list(FILES).index(chosen) + 1]:
        stamp(smaller).write_text(digest(smaller), encoding="utf-8")


def is_installed(chosen: str) -> bool:
    try:
        return PYTHON.exists() and stamp(chosen).read_text(encoding="utf-8") == digest(chosen)
    except OSError:
        return False


def stamp(chosen: str) -> Path:
    """Written last: an installation that was cut short has none."""
    return VENV / f"installed-{chosen}"


def digest(chosen: str) -> str:
    contents = [(ROOT / name).read_bytes() for name in (*FILES[chosen], "constraints.txt")]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


def ensure_venv() -> None:
    """Make the environment, or make it anew where an earlier making of it was cut short."""
    if works([PYTHON, "-m", "pip", "--version"]):
        return
    if VENV.is_symlink():
        raise SystemExit(f"mmsearch: {VENV} leads to an environment without pip: remove the link.")
    if importlib.util.find_spec("ensurepip") is None:
        raise SystemExit(
            f"mmsearch: {sys.executable} cannot make virtual environments. On Debian and Ubuntu:"
            " sudo apt install python3-venv"
        )
    shutil.rmtree(VENV, ignore_errors=True)
    if subprocess.run([sys.executable, "-m", "venv", VENV], check=False).returncode:
        raise SystemExit(f"mmsearch: {VENV} could not be made; the lines above say why.")


def works(command: list[str | Path]) -> bool:
    try:
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def with_uv(files: tuple[str, ...]) -> bool:
    """Install by uv where it is here; it does not heed where pip was told to look."""
    uv = shutil.which("uv")
    if uv is None or any(os.environ.get(name) for name in PIP_SOURCES):
        return False
    done = subprocess.run([uv, "pip", "install", "--python", PYTHON, *files], cwd=ROOT, check=False)
    if done.returncode:
        say("uv could not install this: pip tries.")
    return done.returncode == 0


def with_pip(files: tuple[str, ...]) -> bool:
    """Install by pip: its own bars on a terminal, else a line for each large download."""
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        *files,
    ]
    if sys.stdout.isatty():
        return subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
    ) as pip:
        for line in pip.stdout or ():
            large = LARGE.match(line)
            if large:
                say(f"  {large[1]} ({large[2]})")
            elif line.startswith("Installing collected packages"):
                say("  unpacking")
    return pip.returncode == 0


def say(line: str) -> None:
    """Print for the operator, at once."""
    print(line, flush=True)  # noqa: T201  this is a program's output


def main(arguments: list[str]) -> None:
    """Install the set that make asks for."""
    if sys.version_info < (3, 11):  # noqa: UP036  what runs this may be any Python
        raise SystemExit(
            "mmsearch: Python 3.11 or newer is needed, this is "
            + sys.version.split()[0]
            + ". Name another: make PYTHON=python3.12 run"
        )
    [chosen] = arguments
    try:
        if chosen == "run":
            chosen = wanted(os.environ)
            if not is_installed(chosen):
                refuse_misnamed(os.environ)
        install(chosen)
    except KeyboardInterrupt:
        raise SystemExit("mmsearch: interrupted; the next try goes on from here.") from None


if __name__ == "__main__":
    main(sys.argv[1:])
