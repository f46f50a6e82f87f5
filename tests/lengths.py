"""Fail on functions and modules that do not fit a screen: `python tests/lengths.py FOLDER ...`."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FUNCTION_LINES = 60
MODULE_LINES = 300


def too_long(file: Path) -> Iterator[str]:
    """What in a file is too long; docstrings of functions do not count."""
    source = file.read_text(encoding="utf-8")
    lines = source.count("\n")
    if lines > MODULE_LINES:
        yield f"{file}: {lines} lines, more than {MODULE_LINES}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            length = (node.end_lineno or node.lineno) - node.lineno + 1 - docstring.count("\n")
            if length > FUNCTION_LINES:
                yield f"{file}:{node.lineno}: {node.name} has {length} lines"


def main(folders: list[str]) -> int:
    """Print every offender; 1 if there is any."""
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*.py"))]
    assert files, "no Python files there"
    offenders = [line for file in files for line in too_long(file)]
    sys.stdout.writelines(f"{line}\n" for line in offenders)
    return 1 if offenders else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
