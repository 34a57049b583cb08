# The control planes do not reach this machine's kubelet (port 10250): no logs, no exec. control_planes=IP,IP...
FAULT=kubelet-port-block

fault_supported() { has_peers "$(arg control_planes)"; }

fault_inject() {
  table_load <<RULES
chain in {
  type filter hook prerouting priority raw;
  ip saddr { $(beyond "$(arg control_planes)" | grep -v / | paste -sd,) } tcp dport 10250 counter drop
}
RULES
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
