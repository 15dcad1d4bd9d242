"""Which explanation an error has that torch raises outside of a backward pass, chosen by its message once it leaves the run.

Whoever catches such an error has dealt with it. Knows torch's messages; must not know how torch is hooked.
"""

from __future__ import annotations

from collections.abc import Callable

from gradlint.runtime import refused_by_autograd as autograd
from gradlint.runtime import refused_by_modules as modules
from gradlint.runtime import refused_by_optimizers as optimizers
from gradlint.runtime import refused_by_scalers as scalers
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.refusal import Refusal, refusal_of

_EXPLAIN: dict[str, Callable[[Refusal, Ledger], None]] = {
    "optimizer got an empty parameter list": optimizers.empty_list,
    "can't optimize a non-leaf Tensor": optimizers.no_leaf,
    "some parameters appear in more than one parameter group": optimizers.in_two_groups,
    "'method' object is not iterable": optimizers.uncalled,
    "loaded state dict has a different number of parameter groups": optimizers.other_groups,
    "loaded state dict contains a parameter group that doesn't match": optimizers.other_groups,
    "'Tensor' object is not callable": optimizers.evaluated,
    "missing 1 required positional argument: 'metrics'": optimizers.no_metric,
    "is not an Optimizer": optimizers.no_optimizer,
    "number of total steps is": optimizers.overrun,
    "unscale_() has already been called": scalers.unscaled_twice,
    "Attempting to unscale FP16 gradients": scalers.half,
    "No inf checks were recorded for this optimizer": scalers.without_gradients,
    "Expected to have finished reduction": modules.unfinished,
    "Expected more than 1 value per channel when training": modules.single_value,
    "Boolean value of Tensor with more than one value": modules.loss_class,
    "_kernel_impl\" not implemented for 'Long'": modules.swapped,
    "grad can be implicitly created only for scalar outputs": autograd.no_scalar,
    "Expected f(*args) to return a scalar": autograd.no_scalar_returned,
    "is being used in an in-place operation": autograd.tracked,
    "Inference tensors cannot be saved for backward": autograd.of_inference,
    "Setting requires_grad=True on inference tensor": autograd.of_inference,
    "One of the differentiated Tensors": autograd.unused,
    "appears to not have been used in the graph": autograd.unused,
    "support the deepcopy protocol": autograd.copied,
    "object has no attribute 'backward'": autograd.no_number,
    "NoneType": autograd.absent,
}


def explain_refusal(error: BaseException, ledger: Ledger) -> None:
    """Report what an error that leaves the run means, if it is one of those known here."""
    message = str(error)
    explain = next((each for said, each in _EXPLAIN.items() if said in message), None)
    refusal = refusal_of(error) if explain is not None else None
    if explain is not None and refusal is not None:
        explain(refusal, ledger)
