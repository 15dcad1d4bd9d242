"""As much of torchvision as the programs use, with random images instead of downloads."""

from . import datasets, models, transforms, utils

__all__ = ["datasets", "models", "transforms", "utils"]
__version__ = "0.28.0"

io = None  # transformers imports it, to read videos
