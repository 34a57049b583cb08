# What the other machines (their pods too) send does not arrive here; what this one sends does. peers=IP,IP...
FAULT=partition-in

fault_supported() { has_peers "$(arg peers)"; }

fault_inject() {
  # shellcheck disable=SC2046
  set -- $(beyond "$(arg peers)")
  drop_from "$@" | table_load
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
