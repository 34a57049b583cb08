"""Breaks a lab by its own API server: admission policies that refuse or alter what the probes of verify are made of.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/ and mutating-admission-policy.
"""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.breakers.breaker import KUBECTL, Breaker, breaks


def refuses(check: str, rule: dict[str, Any], condition: str, felt: str) -> Breaker:
    """Requests of `rule` are refused where the CEL `condition` holds."""
    spec = {"validations": [{"expression": f"!({condition})", "message": "the lab is broken on purpose"}]}
    return _policy(check, "Validating", rule, spec, {"validationActions": ["Deny"]}, felt)


def alters(check: str, rule: dict[str, Any], condition: str, patch: str, felt: str) -> Breaker:
    """What `rule` makes is altered by the JSON `patch` (CEL) where `condition` holds."""
    spec = {
        "matchConditions": [{"name": "only", "expression": condition}],
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": f"[JSONPatch{{{patch}}}]"}}],
    }
    return _policy(check, "Mutating", rule, spec, {}, felt)


def makes(resource: str, *operations: str, group: str = "") -> dict[str, Any]:
    """Requests that make (or do `operations` to) `resource`."""
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": ["CREATE", *operations],
        "resources": [resource],
    }


def tried(command: str) -> str:
    """Whether the API server heeds the policy by now, which it does a moment later: `kubectl COMMAND`, for trial "
    "alone."""
    return f"{KUBECTL} {command} --dry-run=server --output=yaml 2>&1 | grep -q breaker"


def _policy(
    check: str, kind: str, rule: dict[str, Any], spec: dict[str, Any], binding: dict[str, Any], felt: str
) -> Breaker:
    name = f"breaker-{check.lower()}"
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    full = {**spec, "failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}}
    items = [
        {**head, "kind": f"{kind}AdmissionPolicy", "spec": full},
        {**head, "kind": f"{kind}AdmissionPolicyBinding", "spec": {"policyName": name, **binding}},
    ]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kinds = f"{kind}AdmissionPolicy,{kind}AdmissionPolicyBinding".lower()
    return Breaker(
        breaks(check),
        on="cp-1",
        harm=f"{KUBECTL} apply -f - <<'END'\n{document}\nEND",
        mend=f"{KUBECTL} delete {kinds} {name} --ignore-not-found",
        felt=felt,
        well=f"! {felt}",
    )
