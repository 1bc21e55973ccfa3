"""Sound in, features out: decoding, resampling, clips, spectra."""
