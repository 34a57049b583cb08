"""Wires a lab's cluster, power and SSH into what `labctl.drill` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from labctl import drill, paths, remote, state
from labctl.config import LabConfig
from labctl.drill import probe
from labctl.errors import StateError, command_for
from labctl.kube import Kube
from labctl.providers.container import ContainerProvider
from labctl.verify.run import Target, verify

_HELLO_FILES = ("helloworld-pod.yml", "hello-deployment.yml")


def lab_of(name: str) -> drill.DrillLab:
    """The lab `name` as drills see it. Raises `UsageError` if there is none, `StateError` if it has no cluster."""
    record = state.get(name)
    files = paths.LabPaths(name)
    if not files.kubeconfig.exists():
        raise StateError(f"the lab {name} has no cluster yet", f"{command_for(name, 'up')} finishes it")
    provider = ContainerProvider(name)

    def run_on(machine: str, argv: Sequence[str]) -> str:
        return remote.run_on(name, remote.machine(name, machine), list(argv))

    return drill.DrillLab(
        name=name,
        cluster=Kube(files),
        power=provider,
        run_on=run_on,
        journal=files.journal,
        hello=hello_documents(record.config),
        observers=probe.observers,
        verify=lambda: [result.sentence() for result in verify(Target.lab(name)).bad],
        machine_names=tuple(f"{name}-{machine}" for machine in record.config.machine_names),
    )


def hello_documents(config: LabConfig) -> tuple[dict[str, Any], ...]:
    """The hello-world Pod, Deployment and Service with the image that the lab uses."""
    folder = paths.roles() / "hello_world" / "files"
    documents: list[dict[str, Any]] = []
    for file in _HELLO_FILES:
        text = Path(folder / file).read_text(encoding="utf-8")
        text = text.replace(LabConfig().hello_world.image, config.hello_world.image)
        documents += [document for document in yaml.safe_load_all(text) if document]
    return tuple(documents)
