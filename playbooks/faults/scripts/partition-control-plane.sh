# Nothing passes between this machine and the control planes; workers still reach it. control_planes=IP,IP...
FAULT=partition-control-plane

fault_supported() { has_peers "$(arg control_planes)"; }

fault_inject() {
  # shellcheck disable=SC2046
  set -- $(beyond "$(arg control_planes)")
  { drop_from "$@" && drop_to "$@"; } | table_load
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
