"""Data augmentation: of batches of images, and of images together with their masks, boxes and maps."""
