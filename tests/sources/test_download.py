"""Pictures from a real server on 127.0.0.1, and every way in which one can fail."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import SourceError
from edgeseg.sources import BrokenFrame, Frame, Limits, open_sources
from edgeseg.sources.download import check_url, download
from tests.sources.conftest import Site

PNG = cv2.imencode(".png", np.full((3, 4, 3), 50, np.uint8))[1].tobytes()


def test_url_gives_its_picture_and_its_name(site: Site) -> None:
    url = site.put("/a.png?size=1", PNG)
    (frame,) = open_sources(url)
    assert isinstance(frame, Frame)
    assert (frame.source, frame.picture.shape) == (url, (3, 4, 3))


def test_url_in_a_list_file_and_broken_ones_are_records(site: Site, tmp_path: Path) -> None:
    urls = [site.put("/a.png", PNG), site.url + "/gone.png", site.put("/page.jpg", b"<html>sign in</html>")]
    urls.append(site.put("/cut.png", PNG[:-10]))
    (tmp_path / "list.txt").write_text("\n".join(urls))
    frames = list(open_sources(tmp_path / "list.txt"))
    assert [type(frame) for frame in frames] == [Frame, BrokenFrame, BrokenFrame, BrokenFrame]
    messages = [frame.error.message for frame in frames if isinstance(frame, BrokenFrame)]
    assert "answers 404" in messages[0]
    assert "an HTML, XML or SVG text" in messages[1]
    assert "ends before its end mark" in messages[2]
    assert all(message.startswith(url) for message, url in zip(messages, urls[1:], strict=True))


def test_url_with_spaces_and_umlauts_is_quoted_once(site: Site) -> None:
    site.put("/stra%C3%9Fe%20a.png", PNG)
    assert download(f"{site.url}/straße a.png", Limits()) == PNG
    assert download(f"{site.url}/stra%C3%9Fe%20a.png", Limits()) == PNG


def test_redirect_is_followed(site: Site) -> None:
    site.put("/a.png", PNG)
    site.redirect("/2", site.url + "/a.png")
    site.redirect("/1", "/2")
    assert download(site.redirect("/0", "/1"), Limits()) == PNG
    assert site.asked == ["/0", "/1", "/2", "/a.png"]


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a.png", "data:image/png;base64,AAAA", "/x.mp4"])
def test_redirect_elsewhere_is_refused(site: Site, to: str) -> None:
    with pytest.raises(SourceError):
        download(site.redirect("/a.png", to), Limits())
    assert site.asked == ["/a.png"]


def test_redirects_are_limited(site: Site) -> None:
    for index in range(20):
        site.redirect(f"/{index}", f"/{index + 1}")
    with pytest.raises(SourceError, match="redirect"):
        download(site.url + "/0", Limits())
    assert len(site.asked) == 6
    with pytest.raises(SourceError, match="redirect"):
        download(site.redirect("/loop", "/loop"), Limits())


def test_size_is_limited_by_what_is_announced_and_by_what_comes(site: Site) -> None:
    limits = Limits(url_bytes=1000)
    assert download(site.put("/fits", bytes(1000)), limits) == bytes(1000)
    with pytest.raises(SourceError, match="expected at most 1000 bytes"):
        download(site.put("/announced", bytes(1001)), limits)
    site.answers["/silent"] = (200, {}, [bytes(600), bytes(600)], 0.0)
    with pytest.raises(SourceError, match="expected at most 1000 bytes"):
        download(site.url + "/silent", limits)


@pytest.mark.parametrize("pause", [0.05, 3.0], ids=["drip", "stall"])
def test_time_is_limited(site: Site, pause: float) -> None:
    site.answers["/slow"] = (200, {}, [b"x"] * (1 if pause > 1 else 60), pause)
    with pytest.raises(SourceError, match=r"cannot be downloaded within 0\.3 s"):
        download(site.url + "/slow", Limits(url_seconds=0.3))


def test_unreachable_server_is_a_source_error() -> None:
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:1/a\.png: cannot be downloaded"):
        download("http://127.0.0.1:1/a.png", Limits())


@pytest.mark.parametrize("url", ["ftp://host/a.png", "http:///a.png", "https://host/v.mov", "http://h:port/a.png"])
def test_url_that_cannot_work_is_refused_without_a_connection(url: str) -> None:
    with pytest.raises(SourceError):
        check_url(url)
