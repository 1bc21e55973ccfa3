"""What tells the classes apart without the music: metadata, level, bandwidth."""
