"""A Ray cluster: join or start it, call functions on it, and raise its errors as our own."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from earwitness import __version__
from earwitness.audio.decode import capture_stderr
from earwitness.core.errors import EarwitnessError, RunError, UsageError, first_line
from earwitness.scoring.options import Section


class Tasks(Section):
    """Tasks that need no detector.

    Attributes:
        num_cpus: Processors of a task.
    """

    num_cpus: Annotated[int, Field(ge=1)] = 1


@contextlib.contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Join the cluster at an address, or start one on this machine for the time of the block.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
    """
    # Both are read when Ray is imported. Users who want its statistics or messages set them.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError("--engine ray: needs pip install 'earwitness[ray]'") from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        quiet["include_dashboard"] = False
    try:
        _knock(address)
        with capture_stderr():
            ray.init(address=address or "local", **quiet)
    except Exception as error:  # noqa: BLE001 - Ray's own for a machine too slow to start
        where = f"--ray-address {address}" if address else "--engine ray"
        why = [first_line(each) for each in (error, error.__cause__) if each]
        raise UsageError(f"{where}: {': '.join(why)}") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise ``OSError`` if no gRPC server is at ``host:port``, where Ray would wait for minutes.

    Both sides of HTTP/2 begin with a SETTINGS frame (RFC 9113, 3.4), the client after a preface.
    """
    host, separator, port = (address or "").rpartition(":")
    if not separator or not port.isdecimal() or "/" in host:
        return
    settings = b"\0\0\0\4\0\0\0\0\0"
    with socket.create_connection((host.strip("[]"), int(port)), timeout=10) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        if connection.recv(4)[3:] != settings[3:4]:
            raise OSError("found another service, expected the head of a Ray cluster")


def count_resource(name: str) -> float:
    """Return how many CPUs or GPUs the cluster has."""
    import ray

    found: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found.get(name, 0.0)


def run_tasks(call: Callable[[Any], Any], tasks: Sequence[Any], options: Tasks) -> Iterator[None]:
    """Call a function with each of ``tasks`` on the cluster; yield as they end.

    A task whose machine is lost is called again, elsewhere.

    Raises:
        UsageError: The cluster is too small, or has another version of this package.
        EarwitnessError: A call raised it; the others are stopped.
    """
    import ray

    if (n_cpus := count_resource("CPU")) < options.num_cpus:
        raise UsageError(
            f"--engine ray: {n_cpus:g} CPUs in the cluster, expected {options.num_cpus}"
        )
    remote = ray.remote(_call).options(num_cpus=options.num_cpus)
    with plain_errors():
        left = [remote.remote(Path.cwd(), __version__, call, task) for task in tasks]
        while left:
            done, left = ray.wait(left)
            ray.get(done)
            yield


def _call(folder: Path, version: str, call: Callable[[Any], Any], task: Any) -> None:
    check_version(__version__, version)
    with contextlib.chdir(folder):
        call(task)


def check_version(there: str, here: str) -> None:
    """Raise ``UsageError`` if a worker has another version of this package than this process."""
    if there != here:
        raise UsageError(
            f"--engine ray: earwitness {there} on the cluster, expected {here} as here"
        )


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Raise the error of a worker as it was there, and Ray's own as a ``RunError``."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(own := getattr(cause, "cause", cause), EarwitnessError):
                raise own from None
            cause = cause.__cause__
        last = str(error).strip().splitlines()[-1:]
        raise RunError(f"--engine ray: {''.join(last)}") from None
