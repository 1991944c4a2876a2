"""Lets a CUDA build of PyTorch run on the CPU of a machine that has none of CUDA's libraries.

    <environment>/bin/python .ci/without_cuda.py

For Linux on x86 the ordinary package index has only CUDA builds of PyTorch's older releases (there are CPU builds on
an index of PyTorch's own), and those do not load without some 2.4 GB of CUDA's libraries beside them. What
runs on the CPU calls nothing there. So libraries of the same names are made, in which every function returns
100, CUDA's "no device", and put beside PyTorch's own, where they are looked for. Does nothing where PyTorch loads.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

_CUDAS = re.compile(r"lib(cu|nv|nccl)")  # libcudart, libnvrtc, libcublas, libnccl, ...
_CUDAS_SYMBOLS = re.compile(r"cu|nv|nccl")


def _loads() -> bool:
    return subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, check=False).returncode == 0


def _lines_of(*command: str | Path) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def _needed(libraries: list[Path]) -> dict[str, set[str]]:
    """The names of CUDA's libraries that are missing, and the functions that are asked of each."""
    here = {file.name for file in libraries}
    text = "\n".join(line for file in libraries for line in _lines_of("readelf", "-dW", file))
    names = {name for name in re.findall(r"NEEDED.*\[(.+)\]", text) if name not in here and _CUDAS.match(name)}
    defined = {_symbol(line)[0] for file in libraries for line in _lines_of("nm", "-D", "--defined-only", file)}
    functions: dict[str, set[str]] = {name: set() for name in names}
    for file in libraries:
        for line in _lines_of("nm", "-D", "-u", file):
            function, version = _symbol(line)
            if version in functions:
                functions[version].add(function)
            elif not version and function not in defined and _CUDAS_SYMBOLS.match(function):
                for name in names:  # a library without versions: any of them may be meant
                    functions[name].add(function)
    return functions


def _symbol(line: str) -> tuple[str, str]:
    """A name and the version asked for, of a line of nm: 'U cudaMalloc@libcudart.so.12'."""
    name, _, version = line.split()[-1].partition("@")
    return name, version.removeprefix("@")


def _stand_in(folder: Path, name: str, functions: set[str]) -> None:
    with tempfile.TemporaryDirectory() as made:
        source, script = Path(made) / "functions.c", Path(made) / "versions"
        source.write_text("".join(f"int {function}(void) {{ return 100; }}\n" for function in sorted(functions)))
        script.write_text(f"{name} {{ global: *; }};\n")
        options = ["-w", "-shared", "-fPIC", "-fno-builtin", f"-Wl,-soname,{name}", f"-Wl,--version-script={script}"]
        subprocess.run(["c++", "-x", "c", source, *options, "-o", folder / name], check=True)


def _main() -> None:
    if _loads():
        return
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        sys.exit("There is no PyTorch in this environment.")
    folder = Path(spec.origin).parent / "lib"
    for name, functions in _needed(sorted(folder.glob("*.so*"))).items():
        _stand_in(folder, name, functions)
    if not _loads():
        sys.exit("PyTorch still does not load; try: python -c 'import torch'")


if __name__ == "__main__":
    _main()
