"""Small tensors: two threads on two cores were many times slower than one."""

import torch

torch.set_num_threads(1)
