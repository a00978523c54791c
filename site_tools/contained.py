"""Snippets and claims run contained: no network, no file outside a temporary folder.

Python announces both through its audit events (PEP 578). This is a guard against accidents, not against attackers.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONNECT = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname")
WRITE = ("os.mkdir", "os.remove", "os.rename", "os.rmdir")
holding = False


def watch(event: str, arguments: tuple) -> None:
    """Raise PermissionError on what must not happen while `holding`."""
    if not holding:
        return
    if event in CONNECT:
        raise PermissionError(
            f"network access ({event}): claims and snippets run offline; keep small data in the repository instead"
        )
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if (writes or event in WRITE) and isinstance(arguments[0], str | os.PathLike) and not allowed(arguments[0]):
        raise PermissionError(
            f"{arguments[0]} is outside a temporary folder: write under tempfile.mkdtemp() or tmp_path"
        )


def allowed(name: str | os.PathLike) -> bool:
    """Temporary files, devices, and the caches of Python and its libraries, which lie in hidden folders."""
    path = Path(os.path.abspath(name))
    if path.is_relative_to(ROOT):  # which may itself lie in a temporary folder
        path = path.relative_to(ROOT)
    elif path.is_relative_to(Path(tempfile.gettempdir()).resolve()) or path.is_relative_to("/dev"):
        return True
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


@contextmanager
def held() -> Iterator[None]:
    """Contain what runs inside."""
    global holding  # noqa: PLW0603 (an audit hook cannot be taken away, only told to look elsewhere)
    holding = True
    try:
        yield
    finally:
        holding = False


sys.addaudithook(watch)
