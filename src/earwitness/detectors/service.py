"""Detectors behind HTTP: one request per file, every answer recorded.

Conventions: ``${NAME}`` in headers, fields and JSON is an environment variable, whose value is
never written or shown. Redirects are not followed. An answer is found again by the SHA-256 of the
file and of the request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, JsonValue, model_validator

from earwitness.core.cards import ClipContract, DetectorCard
from earwitness.core.errors import DetectorError, WeightsError, first_line
from earwitness.core.io import file_stem, sha256_of
from earwitness.detectors.answers import Answer, AnswerFile
from earwitness.detectors.base import AnyDetector, DetectorKind, OpenOptions
from earwitness.detectors.described import Description, describe, read_description, to_logits

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_MOST_BYTES = 1 << 20
_LONGEST_WAIT_S = 60.0


class ServiceDescription(Description):
    """``detector.yaml`` of a service.

    Attributes:
        url: Its address, if not named itself.
        upload: Name of the multipart field of the file's bytes.
        fields: Further multipart fields.
        json_body: JSON body instead; ``{base64}``, ``{path}`` and ``{name}`` are of the file.
        headers: Request headers.
        score: Path of the score in the JSON answer, such as ``result.0.score``.
        output: Form of the score.
        timeout_s: Time limit of a request.
        retries: Further tries after no answer, status 429 or 5xx.
        backoff_s: Wait before the first of them, doubled for each; ``Retry-After`` if longer.
        requests_per_s: Rate limit.
        n_parallel: Requests at a time.
        max_requests: Maximum number of requests per call, tries included.
        max_file_bytes: Maximum size of a file.
    """

    kind: Literal["http"]
    output: Literal["logit", "prob"]
    url: str | None = None
    upload: str | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    json_body: JsonValue = Field(default=None, alias="json")
    headers: dict[str, str] = Field(default_factory=dict)
    score: str = Field(min_length=1)
    timeout_s: float = Field(default=60.0, gt=0)
    retries: int = Field(default=3, ge=0, le=20)
    backoff_s: float = Field(default=1.0, ge=0)
    requests_per_s: float | None = Field(default=None, gt=0)
    n_parallel: int = Field(default=1, ge=1, le=64)
    max_requests: int | None = Field(default=None, ge=0)
    max_file_bytes: int = Field(default=200_000_000, gt=0)

    @model_validator(mode="after")
    def _has_one_body(self) -> ServiceDescription:
        if (self.upload is None) is (self.json_body is None):
            raise ValueError("expected one of upload and json")
        if self.fields and self.upload is None:
            raise ValueError("fields: expected with upload only")
        return self


def describe_service(path: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of the detector with this ``detector.yaml``."""
    description, url = _read(path, options)
    return describe(
        description,
        options.name,
        ClipContract(sample_rate_hz=0, reads_files=True),
        weights_sha256=_digest(description, url),
        weights_from=f"a service at {urlsplit(url).netloc}; what it runs is unknown",
        details={"score": description.score},
    )


def _read(path: Path | None, options: OpenOptions) -> tuple[ServiceDescription, str]:
    assert path is not None  # noqa: S101 - there is none without a description
    description = read_description(path, ServiceDescription)
    url = options.target or description.url
    if url is None:
        raise WeightsError(f"{path}: url: found none, expected an address")
    from earwitness.core.downloads import DownloadError, check_address

    try:
        check_address(url)
        parts = urlsplit(url)
    except (DownloadError, ValueError) as error:
        raise WeightsError(f"{path}: url: {error}") from None
    if parts.username or parts.password:
        raise WeightsError(f"{path}: url: found a password, expected it in headers as ${{NAME}}")
    return description, url


def _digest(description: ServiceDescription, url: str) -> str:
    """Return the SHA-256 of what is requested, with names of variables in place of values."""
    names = ("upload", "fields", "json_body")
    asked = {"url": url} | {name: getattr(description, name) for name in names}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class _FailedError(Exception):
    """No answer for a file; the message says why."""


class _Gate:
    """Limits the number and the rate of requests of several threads."""

    def __init__(self, most: int | None, per_s: float | None) -> None:
        self._most = most
        self._gap_s = 1 / per_s if per_s else 0.0
        self._next_at = 0.0
        self._lock = threading.Lock()
        self.clock, self.sleep = time.monotonic, time.sleep
        self.n_requests = 0

    def enter(self) -> None:
        """Wait for the rate limit; raise ``_FailedError`` at the maximum number."""
        with self._lock:
            if self._most is not None and self.n_requests >= self._most:
                raise _FailedError(
                    f"not requested: the maximum of {self._most} requests is reached"
                )
            self.n_requests += 1
            starts_at = max(self.clock(), self._next_at)
            self._next_at = starts_at + self._gap_s
            wait_s = starts_at - self.clock()
        self.sleep(max(0.0, wait_s))


class ServiceDetector:
    """A service that scores files."""

    device, backend, batch_size = "remote", "http", 1

    def __init__(self, path: Path, options: OpenOptions) -> None:
        import httpx2

        self._given, self._url = _read(path, options)
        self.card = describe_service(path, options)
        self.n_parallel = self._given.n_parallel
        self.answers = AnswerFile()
        self._digest = _digest(self._given, self._url)
        most = self._given.max_requests if options.max_requests is None else options.max_requests
        self.gate = _Gate(most, self._given.requests_per_s)
        self._client = httpx2.Client(follow_redirects=False, timeout=self._given.timeout_s)
        self._n_replayed = 0

    @property
    def remarks(self) -> list[str]:
        """Notes for the user: numbers of requests and of recorded answers used."""
        replayed = f", {self._n_replayed} recorded answers used" if self._n_replayed else ""
        return [f"{self.gate.n_requests} requests{replayed}"]

    def keep_records(self, folder: Path) -> None:
        """Use and extend the answers recorded in a folder."""
        self.answers.open(answers_path(folder, self.card.name))

    def score_files(self, paths: Sequence[str]) -> list[float | str]:
        """Return the logit of each file, or the reason why it has none."""
        return [self._score(path) for path in paths]

    def _score(self, path: str) -> float | str:
        try:
            key = f"{sha256_of(Path(path))}:{self._digest}"
            answer = self.answers.get(key)
            if answer is not None:
                self._n_replayed += 1
            else:
                answer = Answer(key, path, self._ask(path))
                self.answers.add(answer)
            return self.read_score(answer.body)
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"
        except (_FailedError, DetectorError) as error:
            return str(error)

    def is_of_this_request(self, answer: Answer) -> bool:
        """Return whether an answer is to a request as described."""
        return answer.key.endswith(f":{self._digest}")

    def ask_again(self, answer: Answer) -> float | str:
        """Return the logit that the service gives now for a recorded file, without recording it."""
        try:
            if not answer.key.startswith(sha256_of(Path(answer.path))):
                return "the file has changed"
            return self.read_score(self._ask(answer.path))
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"
        except (_FailedError, DetectorError) as error:
            return str(error)

    def read_score(self, body: str) -> float:
        """Return the logit in an answer; ``DetectorError`` if there is none."""
        try:
            found: Any = json.loads(body)
            for part in self._given.score.split("."):
                found = found[int(part)] if isinstance(found, list) else found[part]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise DetectorError(f"the answer has no {self._given.score}: {body[:100]!r}") from None
        if isinstance(found, bool) or not isinstance(found, int | float | str):
            raise DetectorError(f"the answer's score is {str(found)[:60]}, expected a number")
        try:
            value = np.array([[float(found)]])
        except (ValueError, OverflowError):
            raise DetectorError(f"the answer's score is {found!r:.60}, expected a number") from None
        return float(to_logits(value, self._given.output, self._given.fake)[0])

    def _ask(self, path: str) -> str:
        """Return the body of the service's answer, tried again as described."""
        given = self._given
        if (size := Path(path).stat().st_size) > given.max_file_bytes:
            raise _FailedError(f"{size} bytes, max_file_bytes is {given.max_file_bytes}")
        problem = ""
        for attempt in range(given.retries + 1):
            self.gate.enter()
            status, body, wait_s, problem = self._request(path)
            if 200 <= status < 300:
                return body
            if 0 < status < 500 and status != 429:
                break
            if attempt < given.retries:
                longest = max(_LONGEST_WAIT_S, given.backoff_s)
                time.sleep(min(max(given.backoff_s * 2**attempt, wait_s), longest))
        raise _FailedError(problem)

    def _request(self, path: str) -> tuple[int, str, float, str]:
        """Return status (0: no answer), body, seconds to wait and the problem."""
        import httpx2

        ends_at = time.monotonic() + self._given.timeout_s
        secrets: list[str] = []
        try:
            with ExitStack() as stack:
                options = self._content(path, stack, secrets)
                with self._client.stream("POST", self._url, **options) as answer:
                    body = bytearray()
                    for chunk in answer.iter_bytes():
                        body += chunk
                        if len(body) > _MOST_BYTES:
                            return 400, "", 0.0, f"an answer of over {_MOST_BYTES} bytes"
                        if time.monotonic() > ends_at:
                            raise httpx2.ReadTimeout("")
        except httpx2.TimeoutException:
            return 0, "", 0.0, f"no answer for {self._given.timeout_s:g} s"
        except httpx2.HTTPError as error:
            return 0, "", 0.0, _hide(f"no answer ({first_line(error)})", secrets)
        text = _hide(body.decode("utf-8", "replace"), secrets)
        wait = answer.headers.get("Retry-After", "")
        shown = " ".join(text[:200].split())
        problem = f"status {answer.status_code}{f': {shown}' if shown else ''}"
        return answer.status_code, text, float(wait) if wait.isdecimal() else 0.0, problem

    def _content(self, path: str, stack: ExitStack, secrets: list[str]) -> dict[str, Any]:
        """Return headers and body of the request for a file."""
        given = self._given

        def fill(text: str) -> str:
            return _VARIABLE.sub(lambda found: _look_up(found[1], secrets), text)

        options: dict[str, Any] = {"headers": {k: fill(v) for k, v in given.headers.items()}}
        if given.upload is not None:
            file = stack.enter_context(Path(path).open("rb"))  # noqa: SIM115 - closed by the stack
            options["files"] = {given.upload: (Path(path).name, file)}
            options["data"] = {name: fill(value) for name, value in given.fields.items()}
            return options
        values = {"{path}": path, "{name}": Path(path).name}
        if "{base64}" in json.dumps(given.json_body):
            values["{base64}"] = base64.b64encode(Path(path).read_bytes()).decode()
        pattern = re.compile("|".join(map(re.escape, values)))

        def fill_all(text: str) -> str:
            return pattern.sub(lambda found: values[found[0]], fill(text))

        options["json"] = _map_texts(given.json_body, fill_all)
        return options


def answers_path(folder: Path, detector: str) -> Path:
    """Return the path of a detector's recorded answers in a folder."""
    return folder / f"{file_stem(detector)}.jsonl"


def _look_up(name: str, secrets: list[str]) -> str:
    value = os.environ.get(name)
    if not value:
        raise _FailedError(f"environment variable {name} is not set")
    if not (value.isascii() and value.isprintable()):
        raise _FailedError(f"environment variable {name}: expected printable ASCII")
    secrets += [value, json.dumps(value)[1:-1]]
    return value


def _hide(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _map_texts(value: JsonValue, change: Callable[[str], str]) -> JsonValue:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_texts(each, change) for each in value]
    if isinstance(value, dict):
        return {name: _map_texts(each, change) for name, each in value.items()}
    return value


def _open(path: Path, options: OpenOptions) -> AnyDetector:
    return ServiceDetector(path, options)


SERVICE = DetectorKind(describe_service, _open)
