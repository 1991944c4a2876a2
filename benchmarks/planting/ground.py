"""Where bugs are planted, and which tests should notice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ground:
    """A package to plant in, and the tests that should notice; all paths from `root`."""

    root: Path
    package: str  # a folder such as src/backproof/proof
    tests: tuple[str, ...]  # files and folders
    preload: tuple[str, ...] = ()  # modules that the tests need and that are no part of the package
    plugins: tuple[str, ...] = ()  # of pytest; no others are loaded, which would take longer than many a test
    beside: tuple[str, ...] = ()  # further folders that the tests read
    seconds: float = 20.0  # of processor time that a test may take before it counts as hanging

    @property
    def files(self) -> list[Path]:
        """The package's files."""
        return sorted((self.root / self.package).rglob("*.py"))

    def module(self, path: Path) -> str:
        """The name under which a file is imported; the first folder, src, is no part of it."""
        parts = path.relative_to(self.root).with_suffix("").parts[1:]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def test_files(self) -> list[str]:
        """The tests' files, each once."""
        found = [self.root / one for one in self.tests]
        files = [file for one in found for file in ([one] if one.is_file() else sorted(one.rglob("test_*.py")))]
        return list(dict.fromkeys(str(file.relative_to(self.root)) for file in files))

    def state(self, test_file: str) -> str:
        """A word for all that what a test does depends on, as far as it stands in files here."""
        folders = [Path(self.package).parts[0], *self.beside]
        files = [file for folder in folders for file in sorted((self.root / folder).rglob("*.py"))]
        files += [*sorted((self.root / Path(self.tests[0]).parts[0]).rglob("conftest.py")), self.root / test_file]
        whole = hashlib.sha256()
        for file in files:
            whole.update(f"{file}\0".encode() + file.read_bytes())
        return whole.hexdigest()[:32]
