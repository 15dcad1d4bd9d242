"""Pictures that nobody looks at."""


def save_image(*_, **__):
    pass


def make_grid(images, *_, **__):
    return images
