"""Every program begins with the same random numbers."""

import random
import sys

random.seed(0)
if any(argument.endswith(".py") for argument in sys.orig_argv):
    import numpy as np
    import torch

    np.random.seed(0)
    torch.manual_seed(0)
