from labctl import drills
from labctl.config import LabConfig
from labctl.providers.base import Machine

MACHINES = (
    Machine("cp-1", "control-plane", "192.0.2.1", "on", "fd00::1"),
    Machine("worker-1", "worker", "192.0.2.2", "on", "fd00::2"),
    Machine("worker-2", "worker", "192.0.2.3", "on", "fd00::3"),
)


def test_faults_know_the_addresses_and_networks_of_both_families() -> None:
    config = LabConfig.model_validate({"networks": {"family": "dual"}})
    assert drills.surroundings(config, MACHINES, "worker-1") == {
        "peers": "192.0.2.1,fd00::1,192.0.2.3,fd00::3",
        "control_planes": "192.0.2.1,fd00::1",
        "workers": "192.0.2.3,fd00::3",
        "pods": "10.244.0.0/16,fd00:10:244::/56",
        "services": "10.96.0.0/16,fd00:10:96::/112",
    }
