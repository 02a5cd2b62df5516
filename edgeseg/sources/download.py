"""A picture from an http(s) server, within limits of time, size and redirects."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import PurePosixPath
from typing import IO

from edgeseg import __version__
from edgeseg.errors import SourceError
from edgeseg.sources.frames import Limits
from edgeseg.sources.streams import VIDEO_SUFFIXES

SCHEMES = ("http", "https")

_CHUNK = 1 << 16


def check_url(url: str) -> None:
    """Refuse, without any connection, a URL that `download` would not take.

    Raises:
        SourceError: another scheme, no host, or a video.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        # Asking for the port also checks it.
        known = parts.scheme.lower() in SCHEMES and parts.hostname and parts.port != 0
    except ValueError as error:
        raise SourceError(f"{url}: not a URL: {error}") from error
    if not known:
        raise SourceError(f"{url}: expected an http:// or https:// URL with a host")
    if PurePosixPath(parts.path).suffix.lower() in VIDEO_SUFFIXES:
        raise SourceError(f"{url}: a video behind a URL is not read", hint="download it first and pass the file")


def download(url: str, limits: Limits) -> bytes:
    """The bytes behind a URL, in memory.

    Time is checked between chunks, each of which waits at most ``url_seconds``: a server that stalls in the middle
    of a chunk can take twice that.

    Args:
        url: http or https, spaces and letters outside ASCII allowed.
        limits: of seconds and bytes. Every redirect's address is checked as the first one.

    Raises:
        SourceError: the server cannot be reached, answers with an error, or a limit is passed.
    """
    check_url(url)
    # Bytes that are legal in a URL stay, an existing % too, so that quoting twice changes nothing.
    quoted = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    request = urllib.request.Request(quoted, headers={"User-Agent": f"edgeseg/{__version__}"})  # noqa: S310 - checked
    deadline = time.monotonic() + limits.url_seconds
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=limits.url_seconds) as response:
            return _read(response, url, deadline, limits)
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise SourceError(f"{url}: cannot be downloaded within {limits.url_seconds:g} s: {reason}") from error


def _read(response: http.client.HTTPResponse, url: str, deadline: float, limits: Limits) -> bytes:
    announced = response.headers.get("Content-Length", "")
    too_large = SourceError(f"{url}: expected at most {limits.url_bytes} bytes", hint="download it and pass the file")
    if announced.isdecimal() and int(announced) > limits.url_bytes:
        raise too_large
    data = bytearray()
    while chunk := response.read1(_CHUNK):
        data += chunk
        if len(data) > limits.url_bytes:
            raise too_large
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(data)} bytes came")
    return bytes(data)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows five redirects at most, each to an address that would be allowed as the first."""

    max_redirections = 5
    max_repeats = 1

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Check the new address."""
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
