"""What a figure has to carry with it: machine, versions, commit, and the command that gives it again."""

from __future__ import annotations

import json
import os
import platform
import resource
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("backproof", "torch", "numpy", "jax")


def describe() -> dict[str, str]:
    """Name and value of everything that decides a measurement and is not measured."""
    versions = {"Python": platform.python_version()}
    versions |= {name: found for name in _PACKAGES if (found := _version(name))}
    return {
        "command": command(),
        "commit": _commit(),
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "load": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": ", ".join(f"{name} {found}" for name, found in versions.items()),
    }


def command() -> str:
    """How this program was called, from the root of the repository."""
    script = Path(sys.argv[0]).resolve()
    if script.is_relative_to(ROOT):
        script = script.relative_to(ROOT)
    return shlex.join(["python", str(script), *sys.argv[1:]])


def processor() -> str:
    """The processor's model, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown processor"


def lines(description: dict[str, str]) -> str:
    """The description for a reader, a line an entry."""
    return "\n".join(f"{name:>10}  {value}" for name, value in description.items())


def peak_bytes() -> int:
    """The most that this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def write_json(path: Path, figures: object) -> None:
    """Keep the figures beside the description of the machine."""
    path.write_text(json.dumps({"machine": describe(), "figures": figures}, indent=2) + "\n", encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"
