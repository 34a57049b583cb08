"""`labctl up`: the literal list of its steps, from nothing to a page that says hello."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labctl import ansible, bake, clock, drill, hello, images, inventory, inventory_file, paths, state
from labctl.bundle import Bundle, ensure, find
from labctl.config import LabConfig, missing_files
from labctl.config_machine import taint_parts
from labctl.errors import CheckError, LabError, UsageError, command_for
from labctl.events import Emit, StepFinished, StepStarted, Warned
from labctl.kube import Kube, Marks, Node
from labctl.providers import hosts
from labctl.providers.base import HasArchitecture, Provider
from labctl.providers.choose import provider_for
from labctl.topology import Planned
from labctl.verify.model import Report
from labctl.verify.run import ahead, verify
from labctl.verify.target import Target

_NODES_WITHIN_S = 180
_PODS_WITHIN_S = 180


@dataclass
class Up:
    """What the steps know, and what they found out so far."""

    config: LabConfig
    lab: paths.LabPaths
    run_dir: Path
    emit: Emit
    provider: Provider
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """what a person's inventory says of each machine, beside what labctl knows"""
    arch: str = ""
    """of the machines, in Go's words; empty: as this host"""
    bundle: Bundle | None = None
    machines: list[Planned] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    """machines that were off"""
    has_egress: bool = False
    changed: int = 0
    nodes: list[Node] = field(default_factory=list)
    page: str = ""
    ahead: Callable[[], Report | None] = lambda: None
    """the report of checks that were begun early: it holds if nothing is changed after all"""


@dataclass(frozen=True)
class UpResult:
    """What came of `up`; `page` is the text of the hello-world page, empty if it was not deployed."""

    lab: str
    changed: int
    seconds: float
    nodes: list[Node]
    machines: list[Planned]
    kubeconfig: Path
    page: str


def up(config: LabConfig, run_dir: Path, emit: Emit) -> UpResult:
    """Bring the lab up, or whatever of it is missing. The caller holds the lab's lock."""
    start = time.monotonic()
    lab = paths.LabPaths(config.name)
    if drill.broken(lab.name, lab.journal, []):
        emit(Warned(f"a drill on this lab was cut off: {command_for(config.name, 'recover')} undoes what it left"))
    record = state.find(config.name)
    config, variables = _settled(config, record)
    provider = provider_for(config)
    for caveat in provider.caveats():
        emit(Warned(caveat))
    config = config.model_copy(update={"provider": provider.name})
    state.refuse_other_lab(record, config)
    if missing := missing_files(config):
        raise UsageError("\n".join(missing), "labctl.yml names files relative to itself")
    provider.refuse(config)
    work = Up(config, lab, run_dir, emit, provider, variables)
    with ahead(_whole(work, record)) as work.ahead:
        _go(work, record)
    seconds = round(time.monotonic() - start, 1)
    return UpResult(config.name, work.changed, seconds, work.nodes, work.machines, lab.kubeconfig, work.page)


def _whole(work: Up, record: state.LabRecord | None) -> Target | None:
    """The lab as an earlier `up` left it, if nothing of it seems to be missing."""
    if record is None or not (work.lab.kubeconfig.exists() and work.lab.inventory.exists()):
        return None
    try:
        on = sum(machine.power == "on" for machine in work.provider.machines())
    except LabError:
        return None  # preflight says it better
    return Target.lab(work.config.name) if on == len(record.config.node_names) else None


def _go(work: Up, record: state.LabRecord | None) -> None:
    if not isinstance(work.provider, HasArchitecture):  # these want to be asked, which has to be possible
        work.bundle = find(work.config.kubernetes, work.config.bundle)
    bake.refuse_problems(work.provider.preflight())
    if isinstance(work.provider, HasArchitecture):
        work.arch = work.provider.architecture()
        work.bundle = find(work.config.kubernetes, work.config.bundle, work.arch)
    bake.refuse_problems(clock.check(work.lab, record, work.bundle))
    bake.refuse_problems(work.provider.obstacles(work.config, is_baked=bake.is_baked(work.provider, work.bundle)))
    for name, text, step in steps_of(work.provider):
        began = time.monotonic()
        work.emit(StepStarted(name, text))
        note = _explained(work, step)
        work.emit(StepFinished(name, round(time.monotonic() - began, 2), note))


def _settled(config: LabConfig, record: state.LabRecord | None) -> tuple[LabConfig, dict[str, dict[str, Any]]]:
    """`config` with the hosts of its inventory and with their pod subnets, and the inventory's variables."""
    config, variables = inventory_file.resolve(config)
    before = record.config.hosts if record else {}
    return config.model_copy(update={"hosts": hosts.settled(config, before)}), variables


def _explained(work: Up, step: Callable[[Up], str]) -> str:
    """What `step` says. If it fails while this host has run out of something, the error says so too."""
    try:
        return step(work)
    except LabError as error:
        error.message = "\n".join([error.message, *work.provider.shortages()])
        raise


def _bundle(work: Up) -> str:
    version, cached = work.config.kubernetes, work.bundle is not None
    work.bundle = work.bundle or ensure(version, work.emit, work.config.bundle, arch=work.arch)
    how = {"build": "built from source", "download": "downloaded"}[work.bundle.manifest.source]
    return f"Kubernetes {version}, {how}{', cached' if cached else ''}"


def _image(work: Up) -> str:
    assert work.bundle is not None
    return bake.ensure(work.provider, work.config, work.bundle, work.run_dir, work.emit)


def _machines(work: Up) -> str:
    assert work.bundle is not None
    before = {machine.name: machine.power for machine in work.provider.machines()}
    known = state.find(work.config.name)
    # What was set up once is looked after from then on: it may have to be taken away.
    work.has_egress = work.config.has_way_out or (known is not None and known.has_egress)
    state.save(
        state.LabRecord(
            created=state.now(), config=work.config, bundle=str(work.bundle.path), has_egress=work.has_egress
        )
    )
    work.provider.create(work.config, work.emit)
    work.machines = work.provider.plan(work.config)
    if not work.machines:
        raise LabError(f"the network of the lab {work.config.name} vanished", command_for(work.config.name, "up"))
    made = [machine.name for machine in work.machines if before.get(machine.name) != "on"]
    work.changed += len(made)
    work.returned = [name for name in made if name in before]
    if work.machines[0].name in work.returned and work.lab.kubeconfig.exists():
        Kube(work.lab, work.config.patience).wait_api(_NODES_WITHIN_S)
    text = inventory.for_lab(work.config, work.machines, work.bundle.path, work.lab, work.variables)
    state.write_file(work.lab.inventory, text)
    return f"{len(work.machines)} machines, {len(made)} started" if made else f"{len(work.machines)} machines, all on"


def _images(work: Up) -> str:
    if not work.config.images:
        return "none asked for"
    loaded = images.load(work.config.name, work.config.images, work.provider.machines(), work.emit)
    count = sum(len(item.machines) for item in loaded)
    work.changed += count
    return f"{len(loaded)} images, {count} loads"


def _cluster(work: Up) -> str:
    assert work.bundle is not None
    playbooks = ["egress.yml", "up.yml"] if work.has_egress else ["up.yml"]
    changed = 0
    for playbook in playbooks:
        changed += ansible.play(
            playbook,
            work.lab.inventory,
            work.run_dir,
            work.emit,
            hosts={machine.name for machine in work.machines},
            variables={"lab_recipe": bake.recipe_of(work.bundle)},
            control=paths.ssh_control(work.lab.folder),
        ).changed
    work.changed += changed
    return f"changed={changed}"


def _ready(work: Up) -> str:
    kube = Kube(work.lab, work.config.patience)
    names = [machine.name for machine in work.machines]
    kube.wait_kubelets(work.returned, _NODES_WITHIN_S)
    if work.config.has_network:
        kube.wait_nodes_ready(names, _NODES_WITHIN_S)
        kube.wait_deployment("kube-system", "coredns", _PODS_WITHIN_S)
    for machine in work.machines:
        taints = [taint_parts(taint) for taint in machine.settings.taints]
        work.changed += kube.mark(machine.name, Marks(machine.settings.labels, taints))
    work.nodes = sorted((node for node in kube.nodes() if node.name in names), key=lambda node: names.index(node.name))
    ready = sum(node.ready is True for node in work.nodes)
    return f"{ready} of {len(names)} nodes Ready"


def _hello(work: Up) -> str:
    if not work.config.hello_world.enabled or not all(node.ready for node in work.nodes):
        return "skipped: " + ("hello_world.enabled is false" if work.nodes else "the nodes have no network yet")
    kube = Kube(work.lab, work.config.patience)
    (pod,) = [document for document in hello.documents(work.config) if document["kind"] == "Pod"]
    work.changed += kube.keep_pod(hello.as_kubectl(pod), _PODS_WITHIN_S)
    kube.wait_deployment("default", hello.DEPLOYMENT, _PODS_WITHIN_S)
    patience_s = _PODS_WITHIN_S * work.config.patience
    # What the API says of the pods of a machine that returned may be from before: they answer when they were started.
    work.page = hello.text_of(hello.fetch(work.lab.name, str(work.machines[0].address), patience_s))
    return hello.url_of(str(work.machines[0].address))


def _verify(work: Up) -> str:
    """Look whether the lab is what it claims to be. Raises `CheckError` if it is not."""
    if not all(node.ready for node in work.nodes):
        return "skipped: the nodes have no network yet"
    report = (None if work.changed else work.ahead()) or verify(Target.lab(work.config.name))
    state.write_file(work.run_dir / "verify.json", report.model_dump_json(by_alias=True))
    for result in report.bad:
        if result.past:
            work.emit(Warned(result.sentence()))
    if report.broken:
        sentences = [result.sentence() for result in report.broken]
        raise CheckError(
            "\n".join(["the lab is up, but not what it should be:", *sentences]),
            f"{command_for(work.config.name, 'verify')} says why it matters and what to do",
        )
    return f"{len(report.results)} checks"


STEPS: list[tuple[str, str, Callable[[Up], str]]] = [
    ("bundle", "programs and images of Kubernetes", _bundle),
    ("image", "a machine with containerd and kubeadm, to clone", _image),
    ("machines", "starting them", _machines),
    ("images", "loading images of your own", _images),
    ("cluster", "kubeadm init, join, network, hello-world", _cluster),
    ("ready", "waiting for nodes and DNS", _ready),
    ("hello", "asking for the page", _hello),
    ("verify", "whether the lab is what it should be", _verify),
]


def steps_of(provider: Provider) -> list[tuple[str, str, Callable[[Up], str]]]:
    """The steps on machines of `provider`: only containers are clones of an image."""
    return [step for step in STEPS if provider.name not in ("hosts", "vagrant") or step[0] != "image"]
