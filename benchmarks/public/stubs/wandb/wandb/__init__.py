"""A tracker that takes everything and keeps nothing."""


class _Anything:
    def __getattr__(self, name):
        return _Anything()

    def __call__(self, *_, **__):
        return _Anything()


init = Image = Histogram = log = _Anything()
