# etcd has raised its alarm NOSPACE, as it does when its quota is used up: it reads, and refuses to write.
FAULT=etcd-quota
PKI=/etc/kubernetes/pki

fault_supported() {
  has_python || return 1
  has_process etcd || { echo "no etcd runs on this machine"; return 1; }
  [ -e "$PKI/apiserver-etcd-client.key" ] || { echo "the machine has no certificate to ask etcd with"; return 1; }
}

# List, raise or disarm the alarm by etcd's own API: alarm GET|ACTIVATE|DEACTIVATE
alarm() {
  timeout 15 python3 - "$1" "$PKI" <<'PYTHON'
import http.client, json, ssl, sys
action, pki = sys.argv[1:]
trust = ssl.create_default_context(cafile=f"{pki}/etcd/ca.crt")
trust.load_cert_chain(f"{pki}/apiserver-etcd-client.crt", f"{pki}/apiserver-etcd-client.key")
def ask(what, body):
    link = http.client.HTTPSConnection("localhost", 2379, timeout=5, context=trust)
    link.request("POST", f"/v3/maintenance/{what}", json.dumps(body))
    answer = link.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        sys.exit(f"etcd answers {answer.status}: {text}")
    return json.loads(text)
member = ask("status", {})["header"]["member_id"]
if action == "GET":
    raised = [a for a in ask("alarm", {"action": "GET"}).get("alarms", []) if a["alarm"] == "NOSPACE"]
    print(len(raised) or "")
elif action == "ACTIVATE":
    ask("alarm", {"action": action, "memberID": member, "alarm": "NOSPACE"})
else:
    for raised in ask("alarm", {"action": "GET"}).get("alarms", []):
        if raised["alarm"] == "NOSPACE":
            ask("alarm", {"action": action, "memberID": raised["memberID"], "alarm": "NOSPACE"})
PYTHON
}

fault_inject() { alarm ACTIVATE; }

fault_heal() { alarm DEACTIVATE; }

fault_active() {
  has_process etcd && [ -e "$PKI/apiserver-etcd-client.key" ] || return 1
  [ -n "$(alarm GET)" ] || return 1
  echo "etcd's alarm NOSPACE is raised: it refuses to write"
}

fault_main "$@"
