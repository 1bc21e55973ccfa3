"""A server that all tests of a file share."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest

from websites import Site, web_site


class Visitor:
    """A client with the token of the page's forms."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.http = httpx2.Client(base_url=site.url, trust_env=False, timeout=60)
        self.csrf = re.search(r'name="csrf" value="([^"]+)"', self.http.get("/").text)[1]

    def upload(self, *files: tuple[str, bytes], csrf: str | None = None, **headers: str):
        return self.http.post(
            "/songs",
            data={"csrf": self.csrf if csrf is None else csrf},
            files=[("files", file) for file in files],
            headers={"Accept": "application/json"} | headers,
        )


@pytest.fixture(scope="module")
def visitor() -> Iterator[Visitor]:
    with web_site(limit_mb=1) as site:
        visitor = Visitor(site)
        yield visitor
        visitor.http.close()
