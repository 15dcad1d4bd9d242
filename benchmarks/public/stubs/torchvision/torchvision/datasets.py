"""Data sets of random images, `IMAGES` (an environment variable) of them."""

import os

import torch


class _Images(torch.utils.data.Dataset):
    shape = (1, 28, 28)
    classes = tuple(map(str, range(10)))

    def __init__(self, *_, train=True, transform=None, **__):
        random = torch.Generator().manual_seed(0 if train else 1)
        number = int(os.environ.get("IMAGES", "256"))
        number = number if train else max(number // 4, 16)
        self.images = torch.rand(number, *self._shape(transform), generator=random)
        self.targets = torch.randint(0, 10, (number,), generator=random)
        self.data, self.train, self.transform = (self.images[:, 0] * 255).byte(), train, transform
        self.train_data, self.train_labels = self.data, self.targets

    def _shape(self, transform):
        channels, *size = self.shape
        for each in getattr(transform, "transforms", ()):
            wanted = getattr(each, "size", None)
            size = [wanted, wanted] if isinstance(wanted, int) else wanted or size
        return channels, *size

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        image = self.images[index]
        return self.transform(image) if self.transform else image, int(self.targets[index])


class MNIST(_Images):
    pass


class FashionMNIST(_Images):
    pass


class CIFAR10(_Images):
    shape = (3, 32, 32)


class CIFAR100(CIFAR10):
    pass


class FakeData(_Images):
    shape = (3, 64, 64)


class ImageFolder(FakeData):
    pass


class LSUN(FakeData):
    pass
