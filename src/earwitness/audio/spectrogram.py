"""Log-power spectrograms, many clips at a time.

Conventions: time runs along the second axis and frequency along the third. Samples, window and
result are float32; between them power is taken in double precision, since in single precision
a quiet bin beside a loud one holds rounding noise that differs from machine to machine.
"""

from __future__ import annotations

import torch


def log_power_spectrogram(
    samples: torch.Tensor,
    *,
    n_fft: int,
    hop: int,
    n_bins: int,
    floor: float,
    ceiling: float,
    mean: float = 0.0,
    spread: float = 1.0,
) -> torch.Tensor:
    """Return ``(log10(clip(|STFT|², floor, ceiling)) - mean) / spread``.

    The window is a periodic Hann window of ``n_fft`` samples. Frames lie wholly inside the clip:
    the first starts at its first sample, and samples after the last whole frame are left out.

    Args:
        samples: ``(n_clips, n_samples)``, at least ``n_fft`` samples, on any device.
        n_fft: Length of window and transform, in samples.
        hop: Samples between the starts of frames.
        n_bins: Bins kept, from 0 Hz upwards; at most ``n_fft // 2 + 1``.
        floor: Lowest power told apart.
        ceiling: Highest power told apart.
        mean: Subtracted from the logarithm.
        spread: What the difference is divided by.

    Returns:
        ``(n_clips, n_frames, n_bins)`` float32 on the same device.
    """
    window = torch.hann_window(n_fft, periodic=True, dtype=torch.float32)
    spectrum = torch.stft(
        samples.to(torch.float64),
        n_fft=n_fft,
        hop_length=hop,
        window=window.to(samples.device, torch.float64),
        center=False,
        return_complex=True,
    )[:, :n_bins]
    power = spectrum.real.square() + spectrum.imag.square()
    level = power.clamp_(floor, ceiling).log10_()
    return level.sub_(mean).div_(spread).to(torch.float32).transpose(1, 2)
