"""Changes to audio that a detector should survive: codecs, filters, noise, time and pitch."""
