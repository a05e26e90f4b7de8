"""From what lies on a disk to batches: formats, splits, checks, decoding, augmentation."""
