"""Declared datasets: what each is, and where its files and labels are.

Facts are from the documentation that each card names. Groups of speech are speakers, since clips of
one speaker are dependent.
"""

from __future__ import annotations

from pathlib import Path

from earwitness.datasets.catalog import Catalog, DatasetCard
from earwitness.datasets.openbmat import catalog_openbmat
from earwitness.datasets.parquet_rows import Rows, catalog_parquet
from earwitness.datasets.readers import Files, Rule, Table, Tables, declare, declare_reader

ECHOES = declare(
    "Echoes",
    Tables(
        tables=(Table(("dataset_manifest.csv", "Echoes/dataset_manifest.csv")),),
        audio="{path_in_dataset}",
        label=1,
        generator="{generator}",
        group="{original_audio}",
        split="{type}",
        duration_s="{duration}",
        kept=("genre",),
    ),
    DatasetCard(
        summary="songs by ten and more generators, each made after a real track",
        layout="dataset_manifest.csv with path_in_dataset, original_audio, generator, type",
        licence="MIT; later versions CC BY-SA 4.0",
        size="3 577 tracks, 110 h (first version); 4 468 in a later one, 8.6 GB",
        get="hf download Octavian97/Echoes --repo-type dataset, then unpack Echoes.zip",
        leaks=(
            "no reals in it: the references are FMA tracks, which detectors trained on FMA may "
            "know; fakes after one track are one group"
        ),
        docs="https://huggingface.co/datasets/Octavian97/Echoes, arXiv:2603.23667",
    ),
    classes=(1,),
)

AIME = declare_reader(
    "AIME",
    lambda source, root: catalog_parquet(
        source,
        root,
        [Rows(label="model", real=("MTG-Jamendo",), generator="model", group=("description",))],
    ),
    DatasetCard(
        summary="tracks of twelve generators on tags of MTG-Jamendo, and 500 of its tracks",
        layout="data/train-*.parquet with audio, model and description",
        licence="CC BY 4.0; the real tracks Creative Commons, one each",
        size="6 000 fakes and 500 reals, 62 GB",
        get="hf download disco-eth/AIME --repo-type dataset, or splits --dataset hf:disco-eth/AIME",
        leaks="reals are of MTG-Jamendo; the generators share prompts (tags, one group)",
        docs="https://huggingface.co/datasets/disco-eth/AIME, arXiv:2506.19085",
    ),
)

_HAIM_FILES = Files(
    (
        Rule(r"A1_real/(?P<split>[^/]+)/(?P<piece>.+)\.\w+", 0),
        Rule(r"A2_fake/(?P<generator>[^/]+)/(?P<piece>.+)\.\w+", 1),
    )
)
_HAIM_ROWS = (
    Rows(r"(?:.*/)?A1_real_[^/]+/(?P<split>[^/]+?)-\d+-of-\d+\.parquet", target=0),
    Rows(r"(?:.*/)?A2_fake_[^/]+/(?P<generator>[^/]+?)-\d+-of-\d+\.parquet"),
)


def _catalog_haim(source: str, root: Path) -> Catalog:
    """Return the catalog of the hosted files, or else of the Parquet files, which are previews."""
    if (root / "A_full_generation").is_dir():
        return _HAIM_FILES.read(source, root)
    hybrid = r"(?:.*/)?[BC]\d[^/]*/[^/]+\.parquet"
    return catalog_parquet(source, root, _HAIM_ROWS, hybrid=hybrid)


HAIM = declare_reader(
    "HAIM",
    _catalog_haim,
    DatasetCard(
        summary="Human-AI Music: stages of production by hand or by generators",
        layout="A_full_generation/{A1_real/<corpus>,A2_fake/<generator>}/**, or previews: "
        "A1_real_*/*.parquet, A2_fake_*/<generator>-*.parquet",
        licence="CC BY-NC 4.0",
        size="153 686 tracks, 67 000 of them hosted, 245 GB; Parquet files are previews",
        get="hf download mippia/HAIM --repo-type dataset",
        leaks="reals are of MTG-Jamendo, as in AIME; hybrids (B1 to B9, C1, C2) are left out: "
        "where their labels and times are stored is not known here",
        docs="https://huggingface.co/datasets/mippia/HAIM, arXiv:2606.01686",
    ),
)

MOM = declare(
    "MoM",
    Files(
        (
            Rule(r"udio/(?:chunk_\d+/)?(?P<piece>[^/]+)\.mp3", 1, "udio"),
            Rule(r"(?P<generator>riffusion|yue|diffrythm)/(?P<piece>[^/]+)\.mp3", 1),
        )
    ),
    DatasetCard(
        summary="Melody or Machine: songs by Udio, Riffusion, YuE and DiffRhythm",
        layout="{udio/chunk_N,riffusion,yue,diffrythm}/*.mp3",
        licence="CC BY-NC 4.0",
        size="36 417 files, 125 GiB, of the 130 000 songs of the paper",
        get="hf download anonymous2212/MoM-CLAM-dataset --repo-type dataset",
        leaks=(
            "reals, covers and Suno are lists of links, not read here; DiffRhythm files all have "
            "one size, so length and bit rate give them away"
        ),
        docs="https://github.com/StarkVision-AI/MoM-CLAM, arXiv:2512.00621",
    ),
    classes=(1,),
)

AI_OPENBMAT = declare_reader(
    "AI-OpenBMAT",
    catalog_openbmat,
    DatasetCard(
        summary="minutes of television sound with human-made music or music by Suno v3.5",
        layout="human/<pair>.{wav,json} and ai/<pair>_ai.{wav,json}; times in segments",
        licence="CC BY 4.0",
        size="3 294 minutes, 54.9 h, 7.3 GB; 22 050 Hz, mono",
        get="https://zenodo.org/records/20031232, AI-OpenBMAT.zip",
        leaks="pairs share speech and structure (one group); minutes of ai without music are left "
        "out; the human-made music is that of OpenBMAT",
        docs="https://github.com/DaveLoay/AI-OpenBMAT, arXiv:2602.06823",
    ),
)

_TRACKS_MTG = ("raw_30s", "autotagging_moodtheme")

MTG_JAMENDO = declare(
    "MTG-Jamendo",
    Tables(
        tables=(Table(tuple(f"{at}{name}.tsv" for name in _TRACKS_MTG for at in ("", "data/"))),),
        columns=("track", "artist", "album", "path", "duration"),
        n_skipped=1,
        audio="{path}",
        endings=(".low.mp3",),
        label=0,
        group="{track}",
        artist="{artist}",
        duration_s="{duration}",
    ),
    DatasetCard(
        summary="real tracks of Jamendo under Creative Commons",
        layout="raw_30s.tsv beside folders 00 to 99 of <track>.mp3 or <track>.low.mp3",
        licence="Creative Commons, one per track (audio_licenses.txt); metadata CC BY-NC-SA 4.0",
        size="55 701 tracks, 508 GB (raw_30s); audio-low is smaller",
        get="scripts/download/download.py of the repository, with --unpack",
        leaks="also the reals of AIME and HAIM, and the source of AIME's prompts; several tracks "
        "per artist (in artist)",
        docs="https://github.com/MTG/mtg-jamendo-dataset",
    ),
    classes=(0,),
)

MUSDB = declare(
    "MUSDB18-HQ",
    Files(
        (Rule(r"(?P<split>train|test)/(?P<piece>(?P<artist>[^/]+?) - [^/]+)/mixture\.wav", 0),),
        passed_over=r"(?:train|test)/[^/]+/(?:vocals|drums|bass|other)\.wav",
    ),
    DatasetCard(
        summary="real songs with stems, mixes only",
        layout="{train,test}/<artist> - <title>/mixture.wav",
        licence="for education and research only; each song has its own",
        size="150 songs, 10 h; 44.1 kHz, stereo",
        get="https://zenodo.org/records/3338373, musdb18hq.zip",
        leaks="songs of DSD100 and MedleyDB are in it; source separators are trained on it, so "
        "tools that separate first know its train part",
        docs="https://sigsep.github.io/datasets/musdb.html",
    ),
    classes=(0,),
)

GTZAN = declare(
    "GTZAN",
    Files((Rule(r"\w+/(?P<piece>(?P<split>[a-z]+)\.\d{5})\.(?:wav|au)", 0),)),
    DatasetCard(
        summary="real excerpts of ten genres",
        layout="<genre>/<genre>.<number>.{au,wav}; split_tag is the genre",
        licence="none stated; research use",
        size="1 000 excerpts of 30 s; 22 050 Hz, mono",
        get="copies on the Hugging Face hub (marsyas/gtzan) and Kaggle",
        leaks="repeated recordings, several excerpts per artist, distorted files and wrong labels; "
        "M6 contains it",
        docs="Sturm, The GTZAN dataset: its contents, its faults (arXiv:1306.1461)",
    ),
    classes=(0,),
)

WAVEFAKE = declare(
    "WaveFake",
    Files(
        (
            Rule(r"LJSpeech-1\.1/wavs/(?P<piece>LJ[^/]+)\.wav", 0),
            Rule(r"jsut_ver1\.1/basic5000/wav/(?P<piece>BASIC5000_\d+)\.wav", 0),
            Rule(
                r"(?P<generator>(?:ljspeech|jsut|common_voices)_[^/]+)/"
                r"(?P<piece>[^/]+?)(?:_gen|_generated)?\.wav",
                1,
            ),
        )
    ),
    DatasetCard(
        summary="speech by neural vocoders, with LJSpeech and JSUT as reals",
        layout="generated_audio/<corpus>_<vocoder>/*.wav beside LJSpeech-1.1 and jsut_ver1.1",
        licence="see the record; LJSpeech is public domain, JSUT has its own",
        size="ten sets of six architectures",
        get="https://zenodo.org/records/5642694; reals from their own pages",
        leaks="one speaker per language; each fake resynthesizes a real utterance (one group)",
        docs="https://github.com/RUB-SysSec/WaveFake",
    ),
)

ASVSPOOF_5 = declare(
    "ASVspoof5",
    Tables(
        tables=tuple(
            Table((f"{name}.tsv", f"ASVspoof5_protocols/{name}.tsv"), split)
            for split, name in (
                ("train", "ASVspoof5.train"),
                ("dev", "ASVspoof5.dev.track_1"),
                ("eval", "ASVspoof5.eval.track_1"),
            )
        ),
        columns=(
            *("speaker", "file", "gender", "codec", "codec_q", "codec_seed"),
            *("attack_tag", "attack", "label"),
        ),
        audio="{file}.flac",
        label="label",
        generator="{attack}",
        group="{speaker}",
        artist="{speaker}",
        kept=("codec",),
    ),
    DatasetCard(
        summary="crowdsourced speech and 32 attacks, track 1",
        layout="ASVspoof5.{train,dev.track_1,eval.track_1}.tsv; flac_T, flac_D, flac_E_eval",
        licence="see LICENSE.txt of the release",
        size="about 2 000 speakers, 32 attacks",
        get="https://zenodo.org/records/14498691",
        leaks="splits do not share speakers; utterances of eval recur through codecs (codec_seed)",
        docs="README.txt of the release, https://www.asvspoof.org",
    ),
)

_PROTOCOLS_2019 = ("ASVspoof2019_LA_cm_protocols/", "LA/ASVspoof2019_LA_cm_protocols/", "")

ASVSPOOF_2019 = declare(
    "ASVspoof2019-LA",
    Tables(
        tables=tuple(
            Table(tuple(f"{at}ASVspoof2019.LA.cm.{name}.txt" for at in _PROTOCOLS_2019), split)
            for split, name in (("train", "train.trn"), ("dev", "dev.trl"), ("eval", "eval.trl"))
        ),
        columns=("speaker", "file", "unused", "attack", "label"),
        audio="{file}.flac",
        label="label",
        generator="{attack}",
        group="{speaker}",
        artist="{speaker}",
    ),
    DatasetCard(
        summary="speech of VCTK and attacks A01 to A19, logical access",
        layout="ASVspoof2019_LA_cm_protocols/*.txt; ASVspoof2019_LA_{train,dev,eval}/flac",
        licence="see the licence of the release",
        size="25 380 + 24 844 + 71 237 utterances",
        get="https://datashare.ed.ac.uk/handle/10283/3336, LA.zip",
        leaks="leading silence alone separates the classes with 85 % accuracy (Müller 2021); "
        "attacks A04 and A16, A06 and A19 are the same systems in train and eval",
        docs="https://www.asvspoof.org/index2019.html",
    ),
)

_KEYS_2021 = ("keys/DF/CM/", "DF-keys-full/keys/DF/CM/", "DF/CM/", "")

ASVSPOOF_2021_DF = declare(
    "ASVspoof2021-DF",
    Tables(
        tables=(Table(tuple(f"{at}trial_metadata.txt" for at in _KEYS_2021)),),
        columns=("speaker", "file", "codec", "corpus", "attack", "label", "trim", "subset"),
        audio="{file}.flac",
        label="label",
        generator="{attack}",
        group="{speaker}",
        artist="{speaker}",
        split="{subset}",
        kept=("codec",),
    ),
    DatasetCard(
        summary="speech through codecs, with more than 100 attacks; for evaluation only",
        layout="keys/DF/CM/trial_metadata.txt; ASVspoof2021_DF_eval/flac (several parts)",
        licence="see the licence of the release",
        size="611 829 utterances",
        get="https://zenodo.org/records/4835108, and DF-keys-full from asvspoof.org",
        leaks="bona fide speech of VCTK as in ASVspoof 2019, and of the Voice Conversion "
        "Challenges; leading silence as there (trim says where it is cut)",
        docs="https://github.com/asvspoof-challenge/2021",
    ),
)

IN_THE_WILD = declare(
    "In-the-Wild",
    Tables(
        tables=(Table(("meta.csv", "release_in_the_wild/meta.csv")),),
        audio="{file}",
        label="label",
        group="{speaker}",
        artist="{speaker}",
    ),
    DatasetCard(
        summary="speech of public persons and fakes of them, from the internet",
        layout="release_in_the_wild/meta.csv with file, speaker, label; *.wav",
        licence="see the page of the release",
        size="37.9 h of 58 persons",
        get="https://deepfake-total.com/in_the_wild",
        leaks="both classes of one person are one group; reals and fakes are of different "
        "recordings, so channel and noise differ; generators are unknown",
        docs="Müller et al., Does audio deepfake detection generalize? (arXiv:2203.16263)",
    ),
)

CTRSVDD = declare(
    "CtrSVDD",
    Tables(
        tables=tuple(
            Table(tuple(f"{at}{name}.txt" for name in names for at in ("", "label/")), names[0])
            for names in (("train",), ("dev",), ("test", "eval"))
        ),
        columns=("corpus", "singer", "file", "unused", "attack", "label"),
        audio="{file}.flac",
        label="label",
        generator="{attack}",
        group="{singer}",
        artist="{singer}",
        kept=("corpus",),
    ),
    DatasetCard(
        summary="singing voices and 14 kinds of deepfakes of them, without accompaniment",
        layout="{train,dev,test}.txt; {train,dev,test}_set/*.flac",
        licence="CC BY-NC-ND 4.0; some reals have stricter ones and are not in it",
        size="47.6 h bona fide, 260.3 h deepfake, 164 singers",
        get="https://zenodo.org/records/10467648 (train, dev), 10742049 (test), 12703261 (its key)",
        leaks="Oniku, Ofuton, Kiritan and JVS-MuSiC are listed but must be added by CtrSVDD_Utils; "
        "without them (no such file) reals lack whole corpora",
        docs="https://github.com/SVDDChallenge/CtrSVDD_Utils",
    ),
)

SINGFAKE = declare(
    "SingFake",
    Files((Rule(r"(?P<split>mixtures|vocals)/(?P<fake>[01])_(?P<piece>[^/]+)_\d+\.flac"),)),
    DatasetCard(
        summary="clips of songs with real or imitated singers, from the internet",
        layout="{mixtures,vocals}/<0 or 1>_<song>_<clip>.flac, as dataset/split.py writes them",
        licence="a list of links; each song has its own",
        size="28.9 h bona fide, 29.4 h deepfake, 40 singers",
        get="links from https://singfake.org, then dataset/separate.py and split.py",
        leaks="links expire, so copies differ; vocals are by a separator and recur in mixtures "
        "(one group); several songs per singer",
        docs="https://github.com/yongyizang/SingFake, arXiv:2309.07525",
    ),
)
