# Whoever asks this machine's API server from elsewhere is refused at once; the machine itself is answered.
FAULT=api-refused

fault_supported() { has_nft && has_manifest kube-apiserver; }

port() { sed -n 's/.*--secure-port=//p' "$MANIFESTS/kube-apiserver.yaml"; }

fault_inject() {
  table_load <<RULES
chain in {
  type filter hook input priority -10;
  iifname != lo tcp dport $(port) counter reject with tcp reset
}
RULES
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
