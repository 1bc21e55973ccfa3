"""Spectrogram images: rendering, reading, classifying."""
