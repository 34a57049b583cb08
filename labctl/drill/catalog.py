"""The drills labctl ships: declarations, no code paths."""

from __future__ import annotations

from labctl.drill.model import Drill, Expectation, StreamSpec

WORKER_POWEROFF = Drill(
    name="worker-poweroff",
    text="Cut a worker's power: the Deployment's pods come back elsewhere, the bare Pod does not, the node returns",
    fault="power-off",
    target="worker-with-replica",
    streams=(
        StreamSpec(name="survivor", via="survivor", rate=20),
        StreamSpec(name="survivor-keepalive", via="survivor", rate=5, keep_alive=True),
        StreamSpec(name="victim", via="victim", rate=5),
    ),
    main_stream="survivor",
    expect=Expectation(),
)

KUBELET_STOP = WORKER_POWEROFF.model_copy(
    update={
        "name": "kubelet-stop",
        "text": "Stop a worker's kubelet: its pods serve on, are replaced elsewhere, and exist twice until it is back",
        "fault": "kubelet-stop",
    }
)

DRILLS = {drill.name: drill for drill in (WORKER_POWEROFF, KUBELET_STOP)}
