"""The options of ``predict``, each declared once.

The command line, ``bench.yaml`` and ``run.json`` are derived from the fields below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic.fields import FieldInfo

from earwitness.core.cards import Backend, Precision, Preprocessing, Windows

Resume = Literal["missing", "always", "never"]
"""Treatment of finished rows: keep them, score them again, or refuse the folder."""

Form = Literal["csv", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)
"""Forms of the tables of a run folder, which are also their suffixes."""

_DEVICE = re.compile(r"auto|cpu|cuda|cuda:\d+|mps")


@dataclass(frozen=True)
class Option:
    """Metadata of a field besides its name, type, default and bounds.

    Attributes:
        help: Help text.
        metavar: Placeholder of the value.
        flag: Name on the command line, if another.
        panel: Panel of the help page.
        shown_default: Default in the help text, if another.
        decides: Whether it changes scores, or only other columns of prediction files.
        recorded: Key in ``run.json``: ``True`` is the field's name; ``False`` means that the
            detector's card or backend has it.
    """

    help: str
    metavar: str | None = None
    flag: str | None = None
    panel: str | None = None
    shown_default: str | None = None
    decides: Literal["scores", "files"] | None = None
    recorded: bool | str = True


def _windows(value: Any) -> Windows:
    if value in ("published", "all") or (type(value) is int and value >= 1):
        windows: Windows = value
        return windows
    raise ValueError("expected published, all or a whole number from 1 up")


def _device(name: str) -> str:
    if _DEVICE.fullmatch(name):
        return name
    raise ValueError("expected auto, cpu, cuda, cuda:N or mps")


def _batch_size(value: Any) -> int | None:
    if value is None or value == "auto":
        return None
    if type(value) is int and value >= 1:
        return value
    raise ValueError("expected auto or a whole number from 1 up")


class Section(BaseModel):
    """A group of options; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DetectorOptions(Section):
    """Options of a detector; in ``bench.yaml`` of an entry of ``detectors``."""

    preprocessing: Annotated[
        Preprocessing,
        Option(
            "correct: resample audio to the detector's rate. published: do not resample, as the "
            "published loader of the SpecTTTra detectors; the lofcz detectors use the published "
            "resampler.",
            metavar="NAME",
            decides="scores",
            recorded=False,
        ),
    ] = "correct"
    n_encoders: Annotated[
        int,
        Field(ge=2, strict=True),
        Option(
            "Number of classes of the encoder head.",
            metavar="N",
            flag="--model-n-encoders",
            panel="As in the published scripts",
            decides="scores",
            recorded=False,
        ),
    ] = 10

    fake_label: Annotated[
        str | None,
        Option(
            "Name of the fake class of an hf: classifier, where names are unclear.",
            metavar="NAME",
            decides="scores",
            recorded=False,
        ),
    ] = None


class ScoringSection(Section):
    """Options of a whole run; in ``bench.yaml`` the section ``scoring``."""

    windows: Annotated[
        Windows,
        PlainValidator(_windows),
        Option(
            "Clips per file: published (the detector's single one), N evenly spaced, or all, "
            "end to end. Logits are averaged.",
            metavar="N",
            decides="scores",
        ),
    ] = "published"
    keep_windows: Annotated[
        bool, Option("Write the score of every window to <detector>_windows.csv.", decides="files")
    ] = False
    use_skip_time: Annotated[
        bool,
        Option(
            "Skip the manifest's skip_time (seconds) at the start of files, for every detector.",
            decides="scores",
        ),
    ] = False
    threshold: Annotated[
        float | None,
        Field(ge=0, le=1),
        Option(
            "Scores from this value up are labelled fake (default: the card's, 0.5).",
            metavar="SCORE",
            decides="files",
        ),
    ] = None
    precision: Annotated[
        Precision,
        Option(
            "Floating-point precision of networks: fp32, bf16 or fp16. The last two change scores; "
            "by how much is reported.",
            metavar="NAME",
            decides="scores",
            recorded=False,
        ),
    ] = "fp32"
    backend: Annotated[
        Backend,
        Option(
            "Inference backend of networks: torch, or onnxruntime (CPU only; pip install "
            "'earwitness[onnx]').",
            metavar="NAME",
            recorded=False,
        ),
    ] = "torch"
    device: Annotated[
        str,
        AfterValidator(_device),
        Option("auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE", recorded=False),
    ] = "auto"
    batch_size: Annotated[
        int | None,
        PlainValidator(_batch_size),
        Option(
            "Maximum batch size, or auto; scores do not depend on it. It is halved when memory "
            "runs out.",
            metavar="N",
            shown_default="auto",
        ),
    ] = None
    num_workers: Annotated[
        int | None,
        Field(ge=0, strict=True),
        Option(
            "Number of decoding processes; 0 decodes in the main process.",
            metavar="N",
            recorded="n_workers",
        ),
    ] = None
    max_requests: Annotated[
        int | None,
        Field(ge=0, strict=True),
        Option(
            "Maximum number of requests to a service, tries included; 0 uses recorded answers "
            "only (default: max_requests of detector.yaml).",
            metavar="N",
        ),
    ] = None


class ScoringOptions(ScoringSection, DetectorOptions):
    """All options of ``predict``."""

    resume: Annotated[
        Resume,
        Option(
            "If the run folder has finished rows: missing keeps them and scores the rest, always "
            "scores all again, never refuses the folder.",
            metavar="HOW",
        ),
    ] = "missing"
    format: Annotated[
        Form,
        Option(
            "Write manifests and predictions of the run folder as csv, or as parquet: a folder "
            "of parts for each prediction file.",
            metavar="NAME",
            decides="files",
        ),
    ] = "csv"
    retry_errors: Annotated[bool, Option("Score rows with an error again.")] = False

    def of_detectors(self) -> dict[str, Any]:
        """Return the options of ``open_detector``, without the device."""
        wanted = {*DetectorOptions.model_fields, "precision", "backend", "max_requests"}
        return self.model_dump(include=wanted)

    def record(self) -> dict[str, Any]:
        """Return the ``options`` of ``run.json``."""
        names = {name: option_of(field).recorded for name, field in fields().items()}
        return {
            name if key is True else str(key): getattr(self, name)
            for name, key in names.items()
            if key
        }


def fields() -> dict[str, FieldInfo]:
    """Return every option of ``predict``, by name."""
    return ScoringOptions.model_fields


def option_of(field: FieldInfo) -> Option:
    """Return the ``Option`` of a field."""
    return next(part for part in field.metadata if isinstance(part, Option))


def deciding(*what: Literal["scores", "files"]) -> tuple[str, ...]:
    """Return the names of the options that change scores, or other columns of prediction files."""
    return tuple(name for name, field in fields().items() if option_of(field).decides in what)
