"""Names of built-in and public datasets. Imports nothing, so that the command line starts fast."""

from __future__ import annotations

WORLD_NAMES = ("gridworld", "slippery-gridworld")
BUILTIN_NAMES = (
    *("digits", "xor", "moons", "rings", "spirals", "gaussians", "linear", "sine", "rosenbrock"),
    *("shapes", "moving-shapes", "voxels", "point-shapes", "oscillators", "sdf", "tones"),
    *("tracks", "gestures"),
    *("copy-20", "copy-100", "copy-200", "adding-20", "adding-100", "adding-200"),
    "visits",
    *WORLD_NAMES,
)

FORMATS: dict[str, str] = {  # the formats of `snellen.data.formats`; a test compares the two
    "idx": "IDX images with labels, the format of MNIST",
    "cifar": "the python pickles of CIFAR-10 and CIFAR-100, read without executing them",
    "arrays": "NPZ and HDF5 files of named inputs and targets",
    "coco": "COCO: boxes, masks and keypoints in JSON files",
    "voc": "Pascal VOC: boxes in one XML file per image",
    "labelme": "LabelMe: polygons, rectangles and circles in one JSON file per image",
    "yolo": "YOLO: boxes, polygons or keypoints in one text file per image",
    "json-sequences": "JSON lines, each one sequence of any number of steps with its target",
    "table": "CSV and JSON lines of numbers and categories, or of image names with their targets",
    "meshes": "OBJ, OFF and PLY meshes in one folder per class, as points of their surfaces",
    "audio": "recordings (WAV, FLAC, MP3, OGG) in one folder per class, or with the class in the file name",
    "pairs": "images with a mask or a dense map each: classes, instances, depth, normals, edges, flow",
    "folder": "images in one folder per class, with or without train, val and test",
    "motion": "human motion to forecast: AMC files with their ASF, BVH, or exponential maps in text",
    "sequences": "one text or NPY file for each sequence, in one folder per class",
    "recordings": "recordings to forecast: one text file of numbers each, one CSV file, or an array (N, T, D)",
    "image-surface": "one image whose colour is fitted as a function of the position, with --task regress",
}

FILE_COUNTS = {"set aside": "skipped", "no data": "ignored (not data)"}  # keys of `Dataset.files` as displayed

NAMED: dict[str, tuple[str, ...]] = {  # name -> folders below the data folder, as torchvision names them
    "mnist": ("MNIST",),
    "fashion-mnist": ("FashionMNIST",),
    "cifar10": ("cifar-10-batches-py",),
    "cifar100": ("cifar-100-python",),
}
