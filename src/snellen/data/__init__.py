"""Data: formats, splits, checks, decoding, augmentation, batches."""
