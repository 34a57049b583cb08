# Whoever asks this machine's API server from elsewhere is left without an answer; the machine itself is answered.
FAULT=api-dropped

fault_supported() { has_nft && has_manifest kube-apiserver; }

port() { sed -n 's/.*--secure-port=//p' "$MANIFESTS/kube-apiserver.yaml"; }

fault_inject() {
  table_load <<RULES
chain in {
  type filter hook input priority -10;
  iifname != lo tcp dport $(port) counter drop
}
RULES
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
