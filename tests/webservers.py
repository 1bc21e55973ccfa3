"""Servers on loopback: one of web files that misbehaves on request, one of S3, one of a hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import unquote

import fsspec


class _Files(BaseHTTPRequestHandler):
    """Serves ``server.files``; the first part of a path says how."""

    protocol_version = "HTTP/1.1"
    server: Web

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        how, _, name = self.path.partition("?")[0].strip("/").partition("/")
        content = self.server.files.get(unquote(name))
        if self.server.demands not in self.path:
            self._send(401, b"", 0, with_body)
        elif how.isdecimal() or content is None:
            status = 403 if how == "unlisted" else int(how) if how.isdecimal() else 404
            self._send(status, b"", 0, with_body)
        elif how == "flaky" and self.server.count(f"{self.command} {self.path}") < 1:
            self._send(503, b"", 0, with_body)
        elif how == "circle":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif how == "drops":
            self._send(200, content[: len(content) // 2], len(content), with_body, ends=True)
        elif how == "stalls":
            self._send(200, content[:100], len(content), with_body)
            self.server.released.wait(20)
        elif how == "short":  # states more for HEAD than it has for GET
            short = content[: len(content) // 2] if with_body else content
            self._send(200, short, len(short), with_body)
        elif how == "long":  # more comes than is stated
            self._send(200, content, len(content) // 2, with_body, ends=True)
        else:
            self._send(200, content, len(content), with_body)

    def _send(
        self, status: int, body: bytes, n_stated: int, with_body: bool, ends: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(n_stated))
        self.end_headers()
        if with_body:
            self.wfile.write(body)
        self.close_connection = ends

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Hub(_Files):
    """Serves ``server.files`` as the data set ``owner/name`` of a hub, files by a redirect."""

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        if self.server.silent and self.server.silent in path:
            self.server.asked.append(f"{self.command} {self.path}")
            self.server.released.wait(20)
            return
        api, files = "/api/datasets/owner/name", "/datasets/owner/name/resolve/main/"
        if path.startswith(files):
            self.server.asked.append(f"{self.command} {self.path}")
            self.send_response(302)
            self.send_header("Location", f"/plain/{path.removeprefix(files)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path in (api, f"{api}/revision/main"):
            self._send_json({"id": "owner/name", "sha": "5" * 40, "siblings": []})
        elif path.startswith(f"{api}/tree/main"):
            folder = path.removeprefix(f"{api}/tree/main").strip("/")
            self._send_json(self._tree(folder, is_whole="recursive=true" in self.path.lower()))
        else:
            super()._answer(with_body=with_body)

    def _tree(self, folder: str, *, is_whole: bool) -> list[dict[str, object]]:
        """Return what is in a folder, or all that is below it, as the hub lists it."""
        start = f"{folder}/" if folder else ""
        sizes = {
            name.removeprefix(start): len(content)
            for name, content in self.server.files.items()
            if name.startswith(start)
        }
        folders = {str(above) for name in sizes for above in PurePosixPath(name).parents} - {"."}
        below = [("directory", name, 0) for name in folders]
        below += [("file", name, size) for name, size in sizes.items()]
        return [
            {"type": kind, "path": f"{start}{name}", "oid": "1" * 40, "size": size}
            for kind, name, size in sorted(below)
            if is_whole or "/" not in name
        ]

    def _send_json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self._send(200, body, len(body), with_body=True)


class Web(ThreadingHTTPServer):
    """A web server of files in memory; ``asked`` has every request.

    A hub does not answer requests of paths with ``silent`` in them. Requests without ``demands``
    are refused.
    """

    daemon_threads = True

    def __init__(self, handler: type[_Files] = _Files) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.released = threading.Event()
        self.silent = self.demands = ""

    def count(self, request: str) -> int:
        return self.asked.count(request) - 1

    def url(self, path: str, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, *_: object) -> None:
        """Print nothing: clients that give up are expected."""


@contextmanager
def web_server(*, hub: bool = False) -> Iterator[Web]:
    """Serve files, plainly or as a hub."""
    server = Web(_Hub if hub else _Files)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def s3_environment(url: str) -> dict[str, str]:
    """Return the environment variables of clients of an S3 server; those of another forget it."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "HUSHKEYID5EC",
        "AWS_SECRET_ACCESS_KEY": "HUSHSECRET5EC",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def s3_server(files: dict[str, bytes], bucket: str) -> Iterator[dict[str, str]]:
    """Serve a bucket; yield the environment variables of its clients."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = s3_environment(f"http://{host}:{port}")
        keys = {
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        }
        client = boto3.client(
            "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name="us-east-1", **keys
        )
        client.create_bucket(Bucket=bucket)
        for name, content in files.items():
            client.put_object(Bucket=bucket, Key=name, Body=content)
        client.close()
        yield environment
    finally:
        server.stop()
