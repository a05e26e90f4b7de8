"""Names of data that need no path. Imports nothing, so that the command line can look a word up at once."""

from __future__ import annotations

BUILTIN_NAMES = ("digits", "xor", "moons", "rings", "spirals", "gaussians", "linear", "sine", "rosenbrock", "shapes")

FORMATS: dict[str, str] = {  # what `snellen.data.formats` reads; a test holds the two equal
    "idx": "IDX pictures with labels, as MNIST has them",
    "cifar": "the python pickles of CIFAR-10 and CIFAR-100, read without executing them",
    "arrays": "NPZ and HDF5 files of named inputs and targets",
    "coco": "COCO: boxes, masks and keypoints in JSON files",
    "voc": "Pascal VOC: boxes in an XML file for each picture",
    "yolo": "YOLO: boxes, polygons or keypoints in a text file for each picture",
    "table": "CSV and JSON lines of numbers and categories, or of picture names with their targets",
    "pairs": "pictures with a mask or a map of numbers each: classes, instances, depth, normals, edges, flow",
    "folder": "pictures in folders, one a class, with or without train, val and test",
}

NAMED: dict[str, tuple[str, ...]] = {  # name -> where it lies under the data folder, as torchvision puts it
    "mnist": ("MNIST",),
    "fashion-mnist": ("FashionMNIST",),
    "cifar10": ("cifar-10-batches-py",),
    "cifar100": ("cifar-100-python",),
}
