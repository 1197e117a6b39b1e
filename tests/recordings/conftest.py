"""The built-in model, loaded once."""

import pytest


@pytest.fixture(scope="session")
def trained(cpu):
    from ms_omni import OmniEngine

    with OmniEngine.from_pretrained(device="CPU") as engine:
        yield engine
