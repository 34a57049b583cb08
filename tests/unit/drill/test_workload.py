from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from labctl.drill import drills, workload

DRILL = drills()["worker-poweroff"]
FILES = Path(__file__).parents[3] / "roles" / "hello_world" / "files"
HELLO = tuple(
    document
    for name in ("helloworld-pod.yml", "hello-deployment.yml")
    for document in yaml.safe_load_all((FILES / name).read_text())
)


def test_the_introductions_names_are_kept() -> None:
    pod = workload.first(HELLO, "Pod")
    assert pod["metadata"]["name"] == "hello-world"
    assert [c["name"] for c in pod["spec"]["containers"]] == ["helloworld"]
    assert pod["spec"]["containers"][0]["ports"][0]["containerPort"] == 80
    assert workload.first(HELLO, "Service")["spec"]["ports"][0]["nodePort"] == 30080


def test_a_bare_pod_is_never_adopted_by_the_deployment() -> None:
    selector = workload.first(HELLO, "Deployment")["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= workload.first(HELLO, "Pod")["metadata"]["labels"].items()


def test_the_drills_copy_lives_in_its_own_namespace_on_a_free_port() -> None:
    documents = workload.shared(DRILL, HELLO, 2)
    assert [d["kind"] for d in documents] == ["Namespace", "Service", "Deployment"]
    assert all(d["metadata"]["namespace"] == "labctl-drill" for d in documents[1:])
    assert "nodePort" not in documents[1]["spec"]["ports"][0]
    assert documents[1]["spec"]["ports"][0]["port"] == 80
    assert all(d["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "labctl" for d in documents)


def test_the_bare_pod_is_bound_to_the_victim() -> None:
    pod = workload.bare_pod(HELLO, "w1")
    assert pod["spec"]["nodeName"] == "w1"
    assert pod["metadata"]["namespace"] == "labctl-drill"


@pytest.mark.parametrize("spread", ["wish", "even", "must"])
def test_how_replicas_share_nodes(spread: str) -> None:
    drill = DRILL.model_copy(update={"spread": spread})
    template = workload.first(workload.shared(drill, HELLO, 2), "Deployment")["spec"]["template"]
    rules = [rule["whenUnsatisfiable"] for rule in template["spec"].get("topologySpreadConstraints", [])]
    assert rules == {"wish": ["ScheduleAnyway"], "even": ["DoNotSchedule"], "must": []}[spread]
    assert ("affinity" in template["spec"]) == (spread == "must")
    for rule in template["spec"].get("topologySpreadConstraints", []):
        assert rule["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_the_originals_are_not_touched() -> None:
    before = yaml.safe_dump(list(HELLO))
    workload.shared(DRILL, HELLO, 2)
    workload.bare_pod(HELLO, "w1")
    assert yaml.safe_dump(list(HELLO)) == before
