"""The exception tree and what errors carry."""

import copy
import pickle

import pytest

from flow_client import errors

ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]

BASES = {
    errors.ConfigurationError: ValueError,
    errors.InvalidRequestError: ValueError,
    errors.ClientClosedError: RuntimeError,
    errors.PlatformTimeoutError: (errors.PlatformConnectionError, TimeoutError),
    errors.PlatformConflictError: errors.PlatformStatusError,
    errors.ExecutionWaitTimeout: TimeoutError,
    errors.BridgeTimeoutError: (errors.BridgeError, TimeoutError),
}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_a_platform_client_error_and_stands_in_the_tree(kind):
    assert issubclass(kind, errors.PlatformClientError)
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", BASES)
def test_errors_are_caught_by_the_standard_classes_too(kind):
    for base in BASES[kind] if isinstance(BASES[kind], tuple) else (BASES[kind],):
        assert issubclass(kind, base)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_an_error_keeps_what_it_knows_over_pickle_and_copy(kind, again):
    error = again(kind("it broke", attempts=3, idempotency_key="k-1"))
    assert type(error) is kind
    assert (str(error), error.attempts, error.idempotency_key, error.execution_id) == ("it broke", 3, "k-1", None)


def test_an_attribute_that_is_not_declared_is_refused():
    with pytest.raises(TypeError, match="colour"):
        errors.PlatformClientError("it broke", colour="red")
