"""Tiny audio classifiers of transformers with random weights, laid out as on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

REAL_FAKE = {"id2label": {0: "real", 1: "fake"}, "label2id": {"real": 0, "fake": 1}}


def write_wav2vec2(folder: Path, family: str = "Wav2Vec2", **config: Any) -> str:
    """Write a wav2vec2 classifier, or one of its family; return the name for ``--detector``."""
    import transformers

    torch.manual_seed(0)
    small = getattr(transformers, f"{family}Config")(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(10, 8),
        conv_kernel=(10, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        **REAL_FAKE | config,
    )
    _save(folder, getattr(transformers, f"{family}ForSequenceClassification")(small))
    _save(folder, transformers.Wav2Vec2FeatureExtractor())
    return f"hf:{folder}"


def write_wavlm(folder: Path) -> str:
    """Write a WavLM classifier; return the name for ``--detector``."""
    return write_wav2vec2(folder, "WavLM")


def write_whisper(folder: Path) -> str:
    """Write a Whisper encoder with a classifier; return the name for ``--detector``."""
    import transformers

    torch.manual_seed(0)
    small = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        num_mel_bins=8,
        max_source_positions=100,
        classifier_proj_size=8,
        **REAL_FAKE,
    )
    _save(folder, transformers.WhisperForAudioClassification(small))
    _save(folder, transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=2))
    return f"hf:{folder}"


def write_ast(folder: Path, **config: Any) -> str:
    """Write an audio spectrogram transformer; return the name for ``--detector``."""
    import transformers

    torch.manual_seed(0)
    given = {"id2label": {0: "fake", 1: "real"}, "label2id": {"fake": 0, "real": 1}}
    small = transformers.ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=128,
        num_mel_bins=32,
        **given | config,
    )
    _save(folder, transformers.ASTForAudioClassification(small))
    _save(folder, transformers.ASTFeatureExtractor(max_length=128, num_mel_bins=32))
    return f"hf:{folder}"


def _save(folder: Path, part: Any) -> None:
    part.save_pretrained(folder)
