"""Names of kernels, borders, poolings and examples with a line on each; imported without NumPy, for `--help`."""

from __future__ import annotations

KERNEL_NAMES = {
    "identity": "the image itself: 1",
    "shift": "moved by dx, dy pixels: δ",
    "box": "mean of a square: 1 / size²",
    "sharpen": "sharpening: 2δ − box",
    "gaussian": "Gaussian, or its derivative of --order x,y",
    "gaussian-x": "∂/∂x of a Gaussian",
    "gaussian-y": "∂/∂y of a Gaussian",
    "gaussian-xx": "∂²/∂x² of a Gaussian",
    "gaussian-xy": "∂²/∂x∂y of a Gaussian",
    "gaussian-yy": "∂²/∂y² of a Gaussian",
    "gaussian-xxx": "∂³/∂x³ of a Gaussian",
    "laplacian": "∂²/∂x² + ∂²/∂y²: four neighbours − 4 × the centre",
    "sobel-x": "∂/∂x: [1 2 1]ᵀ [−1 0 1]",
    "sobel-y": "∂/∂y: [−1 0 1]ᵀ [1 2 1]",
    "gabor": "cosine of a wavelength, orientation and phase under a Gaussian",
}
SIGNAL_KERNEL_NAMES = {  # where the line of a signal differs
    "identity": "the signal itself: 1",
    "shift": "moved by dx values: δ",
    "box": "mean of neighbouring values: 1 / size",
    "gaussian": "Gaussian, or its derivative of --order x,0",
}
BANK_NAMES = {
    "gabor-bank": "Gabor kernels of several wavelengths, orientations and phases",
    "gaussian-bank": "the Gaussian and its derivatives of orders 1 and 2, and ∂x³",
}
BORDER_NAMES = {
    "zero": "0 0 | a b c d | 0 0",
    "wrap": "c d | a b c d | a b",
    "copy": "a a | a b c d | d d",
    "reflect": "c b | a b c d | c b, without the edge",
    "symmetric": "b a | a b c d | d c, with the edge",
}
POOLING_NAMES = {
    "max": "largest value of a window; the gradient goes to the first largest",
    "mean": "mean of a window; the gradient goes to all its values in equal parts",
}
EXAMPLE_NAMES = {
    "impulse": "7 × 7, 1 in the centre, with the kernel a … i as 1 … 9",
    "square": "7 × 7 numbers, a square with a hole, with the 3 × 3 box filter",
    "pool": "4 × 4 numbers of lecture 003, with 2 × 2 max pooling",
    "signal": "24 numbers, a step with noise, with the kernel 1/5 1/5 1/5 1/5 1/5",
    "scene": "192 × 192 colour image, synthetic, with edges of every direction",
}
