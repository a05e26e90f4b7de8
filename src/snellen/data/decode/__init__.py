"""Decoders: image, TIFF and video files to tensors at their own depth."""
