"""Tiny audio classifiers of transformers with random weights, laid out as on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def write_wav2vec2(folder: Path, **config: Any) -> str:
    """Write a wav2vec2 classifier; return the name for ``--detector``."""
    import transformers

    torch.manual_seed(0)
    given = {"id2label": {0: "real", 1: "fake"}, "label2id": {"real": 0, "fake": 1}}
    small = transformers.Wav2Vec2Config(
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
        **given | config,
    )
    _save(folder, transformers.Wav2Vec2ForSequenceClassification(small))
    _save(folder, transformers.Wav2Vec2FeatureExtractor())
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
