"""Which explanation an error has that torch raises outside of a backward pass, chosen by its message once it leaves the run.

Whoever catches such an error has dealt with it. Knows torch's messages; must not know how torch is hooked.
"""

from __future__ import annotations

from collections.abc import Callable

from gradlint.runtime import refused_by_autograd as autograd
from gradlint.runtime import refused_by_functions as functions
from gradlint.runtime import refused_by_grad as grad
from gradlint.runtime import refused_by_losses as losses
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
    "optimizer can only optimize Tensors": optimizers.no_parameters,
    "params argument given to the optimizer should be": optimizers.no_parameters,
    "param_group must be a dict": optimizers.no_parameters,
    "'params'": optimizers.no_parameters,
    "'initial_lr' is not specified": optimizers.resumed,
    "object is not iterable": optimizers.no_parameters,
    "does not support sparse gradients": optimizers.sparse,
    "add(sparse, dense) is not supported": optimizers.sparse,
    "option is not compatible with sparse gradients": optimizers.sparse,
    "does not support dense gradients": optimizers.dense,
    "requires dense parameter tensors": optimizers.dense,
    "unscale_() has already been called": scalers.unscaled_twice,
    "Attempting to unscale FP16 gradients": scalers.half,
    "No inf checks were recorded for this optimizer": scalers.without_gradients,
    "Expected to have finished reduction": modules.unfinished,
    "Expected to mark a variable ready only once": modules.ready_twice,
    "Expected more than 1 value per channel when training": modules.single_value,
    "Boolean value of Tensor with more than one value": losses.loss_class,
    "_kernel_impl\" not implemented for 'Long'": losses.swapped,
    "should be between 0 and 1": losses.no_probability,
    "is out of bounds": losses.unfit_target,
    "expected target dtype to be Long": losses.unfit_target,
    "expected scalar type Long but found": losses.unfit_target,
    "multi-target not supported": losses.unfit_target,
    "for target with class probabilities": losses.unfit_target,
    "Found dtype Long but expected": losses.unfit_target,
    "returned an incorrect number of gradients": functions.unfit,
    "returned an invalid gradient": functions.unfit,
    "grad can be implicitly created only for scalar outputs": autograd.no_scalar,
    "Expected f(*args) to return a scalar": autograd.no_scalar_returned,
    "is being used in an in-place operation": autograd.tracked,
    "as parameter '": autograd.replaced,
    "Inference tensors cannot be saved for backward": autograd.of_inference,
    "Setting requires_grad=True on inference tensor": autograd.of_inference,
    "Inplace update to inference tensor": autograd.of_inference,
    "can require gradients": autograd.no_floats,
    "One of the differentiated Tensors": grad.unused,
    "appears to not have been used in the graph": grad.unused,
    "support the deepcopy protocol": autograd.copied,
    "object has no attribute 'backward'": autograd.no_number,
    "NoneType": autograd.absent,
}


_OF_SAVED = ("modified by an inplace operation", "backward through the graph a second time")
"""What a function of the user's is told of the tensors that it asks for; `failures` has explained it where it was raised."""


def explain_refusal(error: BaseException, ledger: Ledger) -> None:
    """Report what an error that leaves the run means, if it is one of those known here."""
    refusal = refusal_of(error) if isinstance(error, Exception) else None
    if refusal is None:
        return
    function = functions.running(refusal)
    if function is not None:
        if not any(said in refusal.message for said in _OF_SAVED):
            functions.failed(refusal, function, ledger)
        return
    explain = next((each for said, each in _EXPLAIN.items() if said in refusal.message), None)
    if explain is not None:
        explain(refusal, ledger)
