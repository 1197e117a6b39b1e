import pytest
from stand_in import StandIn, serving


@pytest.fixture
def server():
    with serving(StandIn()) as stand_in:
        yield stand_in
