"""Object detection: shared code of the tasks detect, instances and keypoints."""
