"""Tars made by hand: a good bundle with one thing changed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entry = tuple[tarfile.TarInfo, bytes]
Change = Callable[[list[Entry]], list[Entry]]


def entries(path: Path) -> list[Entry]:
    """Every member with its bytes."""
    with tarfile.open(path) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def rewritten(source: Path, destination: Path, change: Change, format: int = tarfile.USTAR_FORMAT) -> Path:
    """The bundle with its entries changed, in another tar."""
    with tarfile.open(destination, "w", format=format) as tar:
        for info, data in change(entries(source)):
            tar.addfile(info, io.BytesIO(data))
    return destination


def added(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"", **more: Any) -> Change:
    """One member more."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return lambda members: [*members, (info, data)]


def listed(name: str, data: bytes = b"x") -> Change:
    """One member more, which the manifest lists with its true hash."""
    row = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return lambda members: added(name, data=data)(
        manifest(lambda content: content["members"].update({name: row}))(members)
    )


def manifest(change: Callable[[dict[str, Any]], object]) -> Change:
    """Another manifest in the place of the first one."""

    def apply(members: list[Entry]) -> list[Entry]:
        content = json.loads(members[0][1])
        change(content)
        data = json.dumps(content).encode()
        info = tarfile.TarInfo(members[0][0].name)
        info.size = len(data)
        return [(info, data), *members[1:]]

    return apply
