"""Sound to images on disk, and images from disk."""
