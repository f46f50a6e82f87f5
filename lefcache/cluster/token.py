"""The token that a running cluster asks for, or does not: Ray goes by the address instead."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lefcache.errors import EngineError

MODE = "RAY_AUTH_MODE"  # of Ray; who has set it is believed


@contextmanager
def as_asked(address: str) -> Iterator[None]:
    """Bring this user's token where the cluster at an address asks for one, and only there.

    Left to itself Ray brings one, if there is one, to `auto`, and none to HOST:PORT. A cluster that
    asks for none would then never be heard: its workers have no token to show to this process.

    Raises EngineError where the token is missing or another one, ConnectionError without a cluster.
    """
    found = None if MODE in os.environ else _asks(address)
    if found is not False:
        yield
        return
    os.environ[MODE] = "disabled"
    try:
        yield
    finally:
        del os.environ[MODE]


def forget(mode: str | None) -> None:
    """Go back to a mode from before Ray began a cluster here: the next one may ask for no token."""
    if mode is None:
        os.environ.pop(MODE, None)
    else:
        os.environ[MODE] = mode
    with suppress(ImportError, AttributeError):  # of another version
        from ray._raylet import (  # type: ignore[attr-defined]
            AuthenticationTokenLoader,
            Config,
        )

        Config.initialize("")  # which remembers the mode, as the other does the token
        AuthenticationTokenLoader.instance().reset_cache()


def _asks(address: str) -> bool | None:
    """Whether a cluster asks for a token, which is brought from now on; None of an older Ray."""
    try:
        from ray._private.authentication.authentication_token_setup import _enable_token_auth
        from ray._private.services import canonicalize_bootstrap_address_or_die
        from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
    except ImportError:
        return None
    place = canonicalize_bootstrap_address_or_die(address)
    if _lets_in(place):
        return False
    # Without any token Ray would end this process.
    if AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        _enable_token_auth()
        if _lets_in(place):
            return True
    raise EngineError(
        f"the Ray cluster at {address} asks for a token, and this machine has none or another one: "
        "copy ~/.ray/auth_token from the cluster's first node, or set RAY_AUTH_TOKEN"
    )


def _lets_in(place: str) -> bool:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError, RpcError

    try:
        with _unsaid():
            GcsClient(address=place)
    except AuthenticationError:
        return False
    except RpcError as error:
        raise ConnectionError(str(error)) from error
    return True


@contextmanager
def _unsaid() -> Iterator[None]:
    """What the C++ part of Ray has to say goes nowhere: a refusal is an answer here."""
    nowhere, said = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(said, 2)
        os.close(said)
        os.close(nowhere)
