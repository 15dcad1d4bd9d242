"""What every test leaves as it found it: torch's global switches, and the record of what was compiled."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest

# Several workers share the cores already: the threads of each torch, and of each program that a test starts, would only wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep results where no other run looks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADLINT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def nothing_left_over() -> None:
    """Put what other tests left behind out of sight: a watch looks through every object that is alive."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Restore grad mode and default dtype, which an example that raises may leave changed."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is not None:
        dynamo.counters.clear()
