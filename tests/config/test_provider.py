"""``[provider.functions]``."""

from __future__ import annotations

import pytest

from gateway.config.provider import ProviderFunctions, check_provider_functions
from gateway.config.types import Seconds
from gateway.errors import ConfigError


def test_defaults_call_nothing() -> None:
    """the gateway's development provider calls no function unless one is named."""
    check_provider_functions(ProviderFunctions())
    assert ProviderFunctions().before_create == ""


@pytest.mark.parametrize(
    ("functions", "where"),
    [
        (ProviderFunctions(before_create="nowhere"), "$.provider.functions.before_create"),
        (ProviderFunctions(before_sms="ftp://fn.test/"), "$.provider.functions.before_sms"),
        (ProviderFunctions(before_email="http://[x/"), "$.provider.functions.before_email"),
        (ProviderFunctions(before_create="http://fn.test:99999/"), "$.provider.functions.before_create"),
        (ProviderFunctions(before_create="http://u:p@fn.test/"), "$.provider.functions.before_create"),
        (ProviderFunctions(deadline=Seconds(61)), "$.provider.functions.deadline"),
        (ProviderFunctions(deadline=Seconds(0)), "$.provider.functions.deadline"),
    ],
)
def test_what_cannot_work_is_refused(functions: ProviderFunctions, where: str) -> None:
    """the gateway names the key of an address or deadline that cannot work."""
    with pytest.raises(ConfigError) as caught:
        check_provider_functions(functions)
    assert caught.value.where == where
