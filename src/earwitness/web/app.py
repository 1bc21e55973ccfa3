"""The application: routes over songs and runs.

Conventions: errors are a page, or JSON ``{"error": …}`` for a client that accepts JSON.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message

from earwitness.core.errors import EarwitnessError, first_line
from earwitness.web import pages
from earwitness.web.runs import Run, Runs
from earwitness.web.security import PAGE_POLICY, CsrfToken, Guard
from earwitness.web.songs import Songs, UploadedSong

UPLOAD_LIMIT_MB = 200
"""Largest upload, all files of a request together."""
UPLOAD_LIMIT_S = 600.0
"""Longest time that an upload may take."""
_FORM_BYTES = 100_000
_TYPES = {
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
}


def make_app(
    songs: Songs,
    runs: Runs,
    *,
    host: str = "127.0.0.1",
    public_name: str | None = None,
    limit_mb: int = UPLOAD_LIMIT_MB,
) -> Starlette:
    """Return the application.

    Args:
        songs: Uploaded songs, whose thread runs.
        runs: Runs to show.
        host: The host that the server listens on.
        public_name: Name of a proxy before it, reached by HTTPS.
        limit_mb: Largest upload.
    """
    site = _Site(songs, runs, limit_mb)
    return Starlette(
        routes=[
            Route("/", site.home),
            Route("/songs", site.upload, methods=["POST"]),
            Route("/songs.json", site.list_songs),
            Route("/songs/{token}.json", site.song_state),
            Route("/songs/{token}", site.song),
            Route("/songs/{token}/audio", site.song_audio),
            Route("/songs/{token}/changes", site.changes, methods=["POST"]),
            Route("/runs", site.list_runs),
            Route("/compare", site.compare),
            Route("/runs/{token}", site.run),
            Route("/runs/{token}/items", site.items),
            Route("/runs/{token}/items/{number:int}/audio", site.item_audio),
            Route("/runs/{token}/audio/{audio}", site.run_audio),
            Mount("/static", StaticFiles(packages=[("earwitness.web", "static")])),
        ],
        middleware=[Middleware(Guard, host=host, public_name=public_name)],
        exception_handlers={HTTPException: _refuse, EarwitnessError: _explain},
    )


class _Site:
    """The endpoints."""

    def __init__(self, songs: Songs, runs: Runs, limit_mb: int) -> None:
        self._songs, self._runs, self._limit_mb = songs, runs, limit_mb
        self._csrf = CsrfToken()

    async def home(self, _: Request) -> Response:
        return await _page(
            pages.home_page,
            self._songs.all(),
            csrf=self._csrf.value,
            max_mb=self._limit_mb,
            n_detectors=len(self._songs.detectors),
        )

    async def upload(self, request: Request) -> Response:
        form = await _read_form(request, self._limit_mb * 1_000_000)
        try:
            self._csrf.check(request, form.get("csrf"))
            files = [
                one for one in form.getlist("files") if isinstance(one, UploadFile) and one.filename
            ]
            if not files:
                raise HTTPException(400, "no file given")
            added = [
                await run_in_threadpool(self._songs.add, one.filename or "", one.file)
                for one in files
            ]
        finally:
            await form.close()
        if _wants_json(request):
            return JSONResponse({"songs": [song.token for song in added]}, 201)
        return RedirectResponse("/", 303)

    async def list_songs(self, _: Request) -> Response:
        return JSONResponse([pages.describe_song(song) for song in self._songs.all()])

    async def song_state(self, request: Request) -> Response:
        return JSONResponse(pages.describe_song(self._song(request)))

    async def song(self, request: Request) -> Response:
        return await _page(pages.song_page, self._song(request), csrf=self._csrf.value)

    async def song_audio(self, request: Request) -> Response:
        return _audio(self._song(request).path)

    async def changes(self, request: Request) -> Response:
        song = self._song(request)
        form = await _read_form(request, _FORM_BYTES)
        self._csrf.check(request, form.get("csrf"))
        self._songs.ask_for_changes(song)
        return RedirectResponse(f"/songs/{song.token}", 303)

    async def list_runs(self, _: Request) -> Response:
        return await _page(pages.runs_page, await run_in_threadpool(self._runs.all))

    async def run(self, request: Request) -> Response:
        run = await self._run(request.path_params["token"])
        run.forget_old()
        run.page = run.page or await run_in_threadpool(pages.run_page, run)
        return _html(run.page)

    async def run_audio(self, request: Request) -> Response:
        run = await self._run(request.path_params["token"])
        path = run.audio.get(request.path_params["audio"])
        if path is None:
            raise HTTPException(404, "no such audio")
        return _audio(path)

    async def compare(self, request: Request) -> Response:
        first, second = [
            await self._run(request.query_params.get(side, "")) for side in ("first", "second")
        ]
        return await _page(pages.compare_page, first, second)

    async def items(self, request: Request) -> Response:
        run = await self._run(request.path_params["token"])
        return await _page(pages.items_page, run, dict(request.query_params))

    async def item_audio(self, request: Request) -> Response:
        run = await self._run(request.path_params["token"])
        items = await run_in_threadpool(run.read_items)
        path = items.file(request.path_params["number"])
        if path is None or path.suffix.lower() not in _TYPES:
            raise HTTPException(404, "no such audio")
        return _audio(path)

    def _song(self, request: Request) -> UploadedSong:
        song = self._songs.get(request.path_params["token"])
        if song is None:
            raise HTTPException(404, "no such song; it may have been deleted")
        return song

    async def _run(self, token: str) -> Run:
        run = await run_in_threadpool(self._runs.get, token)
        if run is None:
            raise HTTPException(404, "no such run")
        return run


async def _read_form(request: Request, limit_bytes: int) -> FormData:
    """Return a form whose body is counted while it is read.

    Raises:
        HTTPException: It is too large (413) or takes too long (408).
    """
    too_large = HTTPException(413, f"too large, expected at most {limit_bytes // 1_000_000} MB")
    # What surrounds the files is small.
    allowed = limit_bytes + _FORM_BYTES
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > allowed:
        raise too_large
    n_bytes = 0

    async def receive() -> Message:
        nonlocal n_bytes
        message = await request.receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > allowed:
            raise too_large
        return message

    try:
        async with asyncio.timeout(UPLOAD_LIMIT_S):
            return await Request(request.scope, receive).form(max_files=1000, max_fields=10)
    except TimeoutError:
        raise HTTPException(408, "the upload took too long") from None


def _audio(path: Path) -> Response:
    if not path.is_file():
        raise HTTPException(404, "no such audio")
    kind = _TYPES.get(path.suffix.lower(), "application/octet-stream")
    return FileResponse(path, media_type=kind)


async def _page(render: Any, *values: Any, **named: Any) -> Response:
    return _html(await run_in_threadpool(render, *values, **named))


def _html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, {"Content-Security-Policy": PAGE_POLICY})


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


async def _refuse(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    reason = error.detail if isinstance(error, HTTPException) else first_line(error)
    if _wants_json(request):
        return JSONResponse({"error": reason}, status)
    return _html(await run_in_threadpool(pages.error_page, status, reason), status)


async def _explain(request: Request, error: Exception) -> Response:
    return await _refuse(request, HTTPException(422, first_line(error)))
