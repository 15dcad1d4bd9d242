"""Transforms that leave an image as it is, since it is random and a tensor already."""

import sys
from enum import Enum

import numpy as np
import torch


class _Nothing:
    def __init__(self, *given, **_):
        if type(self).__name__ in ("CenterCrop", "RandomCrop", "RandomResizedCrop", "Resize"):
            self.size = given[0]

    def __call__(self, image):
        return image


class ToTensor:
    """An image becomes a tensor; what is one already stays as it is."""

    def __call__(self, image):
        if isinstance(image, torch.Tensor):
            return image
        return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


InterpolationMode = Enum("InterpolationMode", "NEAREST NEAREST_EXACT BILINEAR BICUBIC BOX HAMMING LANCZOS")


def pil_to_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


class Compose:
    def __init__(self, transforms):
        self.transforms = list(transforms)

    def __call__(self, image):
        for transform in self.transforms:
            image = transform(image)
        return image


class Lambda:
    def __init__(self, function):
        self.function = function

    def __call__(self, image):
        return self.function(image)


for _name in (
    "CenterCrop", "ColorJitter", "GaussianBlur", "Grayscale", "Normalize", "Pad", "RandomApply", "RandomCrop", "RandomGrayscale",
    "RandomHorizontalFlip", "RandomResizedCrop", "Resize", "ToPILImage", "PILToTensor", "ConvertImageDtype",
):  # fmt: skip
    globals()[_name] = type(_name, (_Nothing,), {})
functional = v2 = sys.modules[__name__]
for _name in ("functional", "v2", "v2.functional"):
    sys.modules[f"{__name__}.{_name}"] = functional
