"""Files that are fetched from a public address: whole, of the promised SHA-256, or not at all.

`MIEN_CACHE` names the folder in which they are kept, `MIEN_OFFLINE=1` forbids to fetch any.
"""

import hashlib
import http.client
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from mien import __version__
from mien.errors import FailedError
from mien.files import replacing
from mien.progress import progress

# No more than this is downloaded; GoogLeNet's weights are 50 MB.
_LARGEST = 256 * 2**20
_BLOCK = 2**20
_TIMEOUT = 30  # s without a byte


def cache_folder() -> Path:
    """Where fetched files are kept: `MIEN_CACHE`, else `mien` in the user's cache (`XDG_CACHE_HOME`, else ~/.cache)."""
    own = os.environ.get("MIEN_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"


def download(address: str, path: Path, digest: str, what: str, *, timeout: float = _TIMEOUT) -> None:
    """Write what stands at an address to a file once its SHA-256 begins with `digest`; else nothing is left.

    `what` is said of it in errors, as "start weights". Raises FailedError without a connection, where `MIEN_OFFLINE` is
    set, and for a file that breaks off, is too large, or another one. `timeout` is in seconds without a byte.
    """
    if os.environ.get("MIEN_OFFLINE", "0") not in ("", "0"):
        raise FailedError(
            f"{what} can't be downloaded (MIEN_OFFLINE is set)", file=address, expected=f"the file in {path.parent}"
        )
    read = hashlib.sha256()
    with replacing(path) as temporary, temporary.open("wb") as file, progress(f"{path.name} (MB)", None) as advance:
        for block in _blocks(address, path.parent, what, timeout):
            file.write(block)
            read.update(block)
            advance(len(block) // _BLOCK)
        if not read.hexdigest().startswith(digest):
            raise FailedError(
                f"this is another file: its SHA-256 begins with {read.hexdigest()[:8]}", file=address, expected=digest
            )


def _blocks(address: str, folder: Path, what: str, timeout: float) -> Iterator[bytes]:
    """What stands at an address, piece by piece, to its end."""
    request = urllib.request.Request(address, headers={"User-Agent": f"mien/{__version__}"})
    done, whole = 0, None
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            length = answer.headers.get("Content-Length")
            whole = int(length) if length is not None else None
            while block := answer.read(_BLOCK):
                done += len(block)
                if max(done, whole or 0) > _LARGEST:
                    raise FailedError(f"this is more than {_LARGEST >> 20} MB", file=address)
                yield block
    except http.client.IncompleteRead as error:
        done += len(error.partial)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        # An error of HTTP says its number, any other of urllib wraps what happened.
        reason = error.reason if type(error) is urllib.error.URLError else error
        raise FailedError(
            f"{what} can't be downloaded ({_plain(reason)})",
            file=address,
            expected=f"a connection, or the file in {folder}",
        ) from error
    if whole is not None and done < whole:
        raise FailedError(f"the download broke off after {done:,} of {whole:,} bytes", file=address)


def _plain(reason: object) -> str:
    """What went wrong, without the system's number for it.

    >>> _plain(ConnectionRefusedError(111, "Connection refused"))
    'connection refused'
    """
    if isinstance(reason, socket.gaierror):
        return "no connection, or no host of this name"
    told = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return told if told.startswith("HTTP") else told[:1].lower() + told[1:]
