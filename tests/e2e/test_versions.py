"""Every version of Kubernetes that labctl builds comes up, with its own programs and images."""

from __future__ import annotations

import json

import pytest

from labctl.bundle import known_versions
from labctl.config import DEFAULT_KUBERNETES
from tests.e2e.conftest import Cli


@pytest.mark.slow
@pytest.mark.parametrize("version", [version for version in known_versions() if version != DEFAULT_KUBERNETES])
def test_another_version_comes_up_and_says_hello(other: Cli, version: str) -> None:
    (other.cwd / "labctl.yml").write_text("bundle: {source: build}\n")
    try:
        assert "Hello World" in other("up", "--kubernetes", version, "--workers", "1", "--timing", "drill")
    finally:
        (other.cwd / "labctl.yml").unlink()
    nodes = json.loads(other.kubectl("get", "nodes", "-o", "json"))["items"]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {f"v{version}"}
    images = other.kubectl("get", "pods", "-A", "-o", "jsonpath={..image}").split()
    assert f"registry.k8s.io/kube-apiserver:v{version}" in images
    assert "changed=0" in other("up", "--kubernetes", version, "--workers", "1", "--timing", "drill")
