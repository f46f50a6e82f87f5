"""A Spec is known again by its digest, also by a version that has one field more."""

from dataclasses import dataclass, fields, replace

import pytest

from lefcache.spec import Spec


def another(value):
    return value + 1 if isinstance(value, int) else f"another {value}"


@pytest.mark.parametrize("name", [each.name for each in fields(Spec)])
def test_every_field_changes_the_digest(name):
    one = Spec(weights="w")
    assert replace(one, **{name: another(getattr(one, name))}).digest != one.digest
    assert Spec.from_json(one.to_json()).digest == one.digest


def test_a_field_that_a_later_version_adds_changes_no_digest_of_before():
    @dataclass(frozen=True)
    class Later(Spec):
        added: str = "as ever"
        numerics: int = 7

    one = Spec(weights="w", prompt="p")
    assert Later(weights="w", prompt="p", numerics=one.numerics).digest == one.digest
    assert Later(weights="w", prompt="p").digest != one.digest
