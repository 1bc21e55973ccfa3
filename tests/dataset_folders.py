"""Small copies of the declared datasets in their published layouts, with empty audio files.

Each holds the classes of its dataset, two fakes of one group, one file that is listed and missing
or whose name is not valid Unicode, and a text file beside the audio.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from builders import touch

BAD = "\\xff.mp3"


class Folder(NamedTuple):
    """Audio files, other files with their text, and names of what is left out."""

    audio: tuple[str, ...]
    texts: Mapping[str, str]
    left_out: frozenset[str]
    n_of_a_piece: int = 2
    shards: Mapping[str, Mapping[str, Sequence[Any]]] = {}

    def make(self, root: Path) -> None:
        """Write the folder; ``BAD`` is a file whose name is not valid Unicode."""
        for name in self.audio:
            touch(root / name)
        for name, text in (*self.texts.items(), ("notes.txt", "read me")):
            touch(root / name).write_text(text, encoding="utf-8")
        for name, columns in self.shards.items():
            write_shard(root / name, columns)
        if BAD in self.left_out:
            Path(os.fsdecode(os.fsencode(root) + b"/\xff.mp3")).touch()


def write_shard(
    path: Path,
    columns: Mapping[str, Sequence[Any]],
    *,
    names: Sequence[str] = (),
    audio: Sequence[bytes] = (),
) -> Path:
    """Write a Parquet file of the hub: columns, ``audio`` as bytes, and names of the labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_rows = len(next(iter(columns.values())))
    content = audio or [f"{path.name} {row}".encode() for row in range(n_rows)]
    files = [{"bytes": each, "path": f"{row}.mp3"} for row, each in enumerate(content)]
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    described = {"huggingface": json.dumps({"info": {"features": features}})} if names else None
    pl.DataFrame({**columns, "audio": files}).write_parquet(path, metadata=described)
    return path


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def minute(*parts: tuple[float, str]) -> str:
    """Return the JSON of a minute of AI-OpenBMAT: durations and types of its parts."""
    segments = [
        {
            "event_type": "x",
            "duration": duration,
            "sources": [{"type": kind, "file": "a.wav", "start": 3.0, "duration": duration}],
        }
        for duration, kind in parts
    ]
    return json.dumps(
        {"duration": 60, "sample_rate": 22050, "artisan": "ai", "segments": segments}
        | {"reference_structure": {"file": "b.wav"}}
    )


MUSIC_LAST = minute((20.0, "speech"), (40.5, "music"))

FOLDERS = {
    "echoes": Folder(
        ("TTA/acestep/a_001.mp3", "ATA/udio/a_002.mp3"),
        {
            "dataset_manifest.csv": lines(
                "path_in_dataset,original_audio,generator,type,genre,description,duration",
                'TTA/acestep/a_001.mp3,"10,000 ""I\'m"" - N",acestep,TTA,Rock,"a, b",45.7',
                'ATA/udio/a_002.mp3,"10,000 ""I\'m"" - N",udio,ATA,Rock,"a, b",30',
                "TTA/acestep/gone.mp3,Other,acestep,TTA,Pop,c,1",
            )
        },
        frozenset({"TTA/acestep/gone.mp3"}),
    ),
    "aime": Folder(
        (),
        {},
        frozenset(),
        shards={
            "data/train-00000-of-00002.parquet": {
                "id": ["1", "2"],
                "model": ["Udio", "MTG-Jamendo"],
                "description": [["rock", "guitar"], ["jazz"]],
            },
            "data/train-00001-of-00002.parquet": {
                "id": ["3"],
                "model": ["Suno v3.5"],
                "description": [["rock", "guitar"]],
            },
        },
    ),
    "haim": Folder(
        (),
        {},
        frozenset({"B1_mastered/x-00000-of-00001.parquet"}),
        n_of_a_piece=1,
        shards={
            "A1_real_MTG_audio/mtg-00000-of-00001.parquet": {"track_id": ["t1"]},
            "A2_fake_audio/lyria_pro3-00000-of-00001.parquet": {"track_id": ["l1"]},
            "B1_mastered/x-00000-of-00001.parquet": {"track_id": ["h1"]},
        },
    ),
    "mom": Folder(
        ("udio/chunk_1/s.mp3", "yue/s.mp3", "diffrythm/t.mp3"),
        {"real_songs.csv": "url\n"},
        frozenset({BAD}),
    ),
    "ai_openbmat": Folder(
        ("human/gen_1.wav", "ai/gen_1_ai.wav", "ai/gen_2_ai.wav", "AI-OpenBMAT/ai/gen_1_ai.wav"),
        {
            "human/gen_1.json": MUSIC_LAST,
            "ai/gen_1_ai.json": MUSIC_LAST,
            "ai/gen_2_ai.json": minute((60.0, "speech")),
            "AI-OpenBMAT/ai/gen_1_ai.json": MUSIC_LAST,
        },
        frozenset({"ai/gen_1_ai.wav", "ai/gen_2_ai.wav"}),
        n_of_a_piece=1,
    ),
    "mtg_jamendo": Folder(
        ("14/214.mp3", "15/215.low.mp3"),
        {
            "raw_30s.tsv": lines(
                "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS",
                "track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\tgenre---rock\tx",
                "track_0000215\tartist_000014\talbum_000031\t15/215.mp3\t151.4\tgenre---rock",
                "track_0000216\tartist_000015\talbum_000031\t16/216.mp3\t234.9\tgenre---punk",
            )
        },
        frozenset({"16/216.mp3"}),
    ),
    "musdb": Folder(("train/A - B/mixture.wav", "test/C D - E/mixture.wav"), {}, frozenset({BAD})),
    "gtzan": Folder(
        ("genres/blues/blues.00000.au", "genres/rock/rock.00099.wav"), {}, frozenset({BAD})
    ),
    "wavefake": Folder(
        (
            "LJSpeech-1.1/wavs/LJ001-0001.wav",
            "jsut_ver1.1/basic5000/wav/BASIC5000_0001.wav",
            "generated_audio/ljspeech_melgan/LJ001-0001_gen.wav",
            "generated_audio/ljspeech_hifiGAN/LJ001-0001_generated.wav",
            "generated_audio/jsut_parallel_wavegan/BASIC5000_0001_gen.wav",
        ),
        {"LJSpeech-1.1/metadata.csv": "LJ001-0001|x\n"},
        frozenset({BAD}),
    ),
    "asvspoof_5": Folder(
        (
            *("flac_T/T_0000000000.flac", "flac_T/T_0000000001.flac"),
            *("flac_T/T_0000000002.flac", "flac_E_eval/E_0000000001.flac"),
        ),
        {
            "ASVspoof5.train.tsv": lines(
                "T_0001 T_0000000000 F - - - AC3 A05 spoof -",
                "T_0001 T_0000000001 F - - - AC3 A01 spoof -",
                "T_0002 T_0000000002 M - - - - bonafide bonafide -",
            ),
            "ASVspoof5_protocols/ASVspoof5.eval.track_1.tsv": lines(
                "E_0001 E_0000000001 F C01 3 E_0000000009 AC1 A19 spoof -",
                "E_0001 E_0000000002 F - - - - bonafide bonafide -",
            ),
        },
        frozenset({"E_0000000002.flac"}),
    ),
    "asvspoof_2019": Folder(
        (
            *("ASVspoof2019_LA_train/flac/LA_T_1.flac", "ASVspoof2019_LA_train/flac/LA_T_2.flac"),
            "ASVspoof2019_LA_eval/flac/LA_E_1.flac",
        ),
        {
            "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt": lines(
                "LA_0079 LA_T_1 - - bonafide", "LA_0079 LA_T_2 - A01 spoof"
            ),
            "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt": lines(
                "LA_0079 LA_E_1 - A16 spoof", "LA_0080 LA_E_2 - - bonafide"
            ),
        },
        frozenset({"LA_E_2.flac"}),
    ),
    "asvspoof_2021_df": Folder(
        tuple(f"part0{n}/ASVspoof2021_DF_eval/flac/DF_E_200001{n}.flac" for n in range(3)),
        {
            "keys/DF/CM/trial_metadata.txt": lines(
                "LA_0023 DF_E_2000010 nocodec asvspoof A14 spoof notrim progress vocoder - - - -",
                "LA_0023 DF_E_2000011 mp3m4a asvspoof A09 spoof notrim eval vocoder - - - -",
                "TEF2 DF_E_2000012 low_mp3 vcc2020 - bonafide notrim eval bonafide - - - -",
                "TEF2 DF_E_2000013 low_mp3 vcc2020 - bonafide notrim eval bonafide - - - -",
            )
        },
        frozenset({"DF_E_2000013.flac"}),
    ),
    "in_the_wild": Folder(
        ("0.wav", "1.wav", "2.wav"),
        {
            "meta.csv": lines(
                "file,speaker,label",
                "0.wav,Alan Watts,spoof",
                "1.wav,Alan Watts,spoof",
                "2.wav,Alan Watts,bona-fide",
                "3.wav,Orson Welles,bona-fide",
            )
        },
        frozenset({"3.wav"}),
    ),
    "ctrsvdd": Folder(
        ("dev_set/CtrSVDD_0110_D_1.flac", "dev_set/D_2.flac", "dev_set/D_3.flac"),
        {
            "dev.txt": lines(
                "m4singer CtrSVDD_0110 CtrSVDD_0110_D_1 - - bonafide",
                "m4singer CtrSVDD_0110 D_2 - A06 deepfake",
                "m4singer CtrSVDD_0110 D_3 - A07 deepfake",
                "jvsmusic CtrSVDD_0097 CtrSVDD_0097_D_0010993 - - bonafide",
            )
        },
        frozenset({"CtrSVDD_0097_D_0010993.flac"}),
    ),
    "singfake": Folder(
        ("mixtures/1_song_0.flac", "vocals/1_song_0.flac", "mixtures/0_other_3.flac"),
        {},
        frozenset({BAD}),
    ),
}
