"""Explanations: what a trained model looks at, and which rows it gets wrong, by hooks on any `nn.Module`."""
