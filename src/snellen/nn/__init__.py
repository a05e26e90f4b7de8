"""Networks as plain `nn.Module`s, without data and training."""
