"""Where a kubeadm lab is otherwise than the CIS Kubernetes Benchmark asks, and why it stays so, by number."""

from __future__ import annotations

DEVIATIONS: dict[str, str] = {}
