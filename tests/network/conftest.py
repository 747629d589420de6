import pytest
from hypothesis import HealthCheck, settings

from tests.network.host import Host

# a busy machine is no defect of a reassembly
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def host() -> Host:
    return Host()
