"""Names of examples, activations and losses, for help texts: imports neither NumPy nor PyTorch."""

EXAMPLE_SUMMARIES: dict[str, str] = {
    "lecture003": "backpropagation by hand, from lecture 003: six weights, one step, to the last digit",
    "lecture001": "the sigmoid network of lecture 001 with its formulas of δ; made-up numbers",
    "mario": "the next position from three (lecture 002): two sigmoid layers, linear output; drawn weights",
    "xor": "XOR by two hidden units (lecture 003), and the fraction of seeds that succeed",
    "softmax": "three classes by softmax and cross-entropy, whose δ is p − t",
    "convolution": "a 4 x 4 grid (lecture 003), a convolution and max pooling, with the gradient's path",
    "mean-pool": "mean pooling of the same grid: the gradient is divided equally",
    "batch-norm": "batch normalisation of four samples (lecture 002), with ε inside the root",
}
ACTIVATION_NAMES = ("linear", "sigmoid", "tanh", "relu", "leaky-relu", "softmax")
LOSS_NAMES = ("half-squared", "squared", "bce", "cross-entropy")
