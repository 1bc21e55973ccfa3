"""Errors that a user can cause; anything else is a bug.

Convention: the message is one line: where, what was found, what was expected. The command line
prints it and exits with status 2.

    EarwitnessError
    ├── UsageError          invalid options
    ├── DatasetError        a folder layout, split file or CSV of a dataset
    ├── ManifestError       a manifest
    ├── PredictionsError    a prediction file or a comparison table
    ├── AuditError          an audit or its options
    ├── RunError            a run folder that is in use, differs, or cannot be written
    │   └── StoppedError    a run stopped by Ctrl-C; exit status 130
    ├── AudioError          one audio file; carries its path and the reason alone
    ├── ImageError          one image file; carries its path and the reason alone
    ├── ChartError          a chart that cannot be drawn
    ├── PerturbationError   an unknown perturbation or audio that it cannot change
    ├── DetectorError       an unknown detector or invalid input to one
    └── WeightsError        weights that are missing, damaged or of another shape
"""

from __future__ import annotations

from earwitness.core.remote import redact


class EarwitnessError(Exception):
    """Base of every error a user can cause."""


class UsageError(EarwitnessError):
    """Options are missing, invalid or contradict each other."""


class DatasetError(EarwitnessError):
    """A dataset's folders or files are not laid out as expected."""


class ManifestError(EarwitnessError):
    """A manifest cannot be read or has invalid content."""


class PredictionsError(EarwitnessError):
    """A prediction file or comparison table cannot be read or has invalid content."""


class AuditError(EarwitnessError):
    """An audit cannot be read or done."""


class RunError(EarwitnessError):
    """A run folder is in use, belongs to another run, or cannot be written."""


class StoppedError(RunError):
    """Ctrl-C stopped a run, which can be resumed."""


class _FileError(EarwitnessError):
    """One file cannot be used: its path, and the reason without the path."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{redact(self.path)}: {self.reason}"


class AudioError(_FileError):
    """One audio file cannot be decoded."""


class ImageError(_FileError):
    """One image file cannot be read."""


class ChartError(EarwitnessError):
    """A chart cannot be drawn."""


class PerturbationError(EarwitnessError):
    """A perturbation is unknown, has invalid options or cannot be applied to some audio."""


class DetectorError(EarwitnessError):
    """A detector is unknown or was given something it cannot score."""


class WeightsError(EarwitnessError):
    """Weights are missing, damaged or do not fit the network."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type without a message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
