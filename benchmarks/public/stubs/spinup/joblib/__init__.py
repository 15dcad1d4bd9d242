"""Dumps that nobody reads."""


def dump(*_, **__):
    pass
