# The control planes do not reach this machine's kubelet (port 10250): no logs, no exec. control_planes=IP,IP...
FAULT=kubelet-port-block

fault_supported() { has_peers "$(arg control_planes)"; }

fault_inject() {
  # shellcheck disable=SC2046
  set -- $(beyond "$(arg control_planes)" | grep -v /)
  table_load <<RULES
chain in {
  type filter hook prerouting priority raw;
$(rules saddr 'tcp dport 10250 counter drop' "$@")
}
RULES
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
