"""Transforms that leave an image as it is, since it is random and a tensor already."""

import sys


class _Nothing:
    def __init__(self, *given, **_):
        if type(self).__name__ in ("CenterCrop", "RandomCrop", "RandomResizedCrop", "Resize"):
            self.size = given[0]

    def __call__(self, image):
        return image


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
    "RandomHorizontalFlip", "RandomResizedCrop", "Resize", "ToPILImage", "ToTensor",
):  # fmt: skip
    globals()[_name] = type(_name, (_Nothing,), {})
functional = sys.modules[__name__]
sys.modules[f"{__name__}.functional"] = functional
