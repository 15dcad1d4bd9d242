"""A metric that is fed and tells the share of right answers."""


class _Accuracy:
    def __init__(self):
        self.right, self.all = 0, 0

    def add_batch(self, predictions, references):
        self.right += int((predictions == references).sum())
        self.all += len(references)

    def compute(self):
        return {"accuracy": self.right / self.all}


def load(*_, **__):
    return _Accuracy()
