# What this machine (its pods too) sends to the others does not leave it; theirs arrives. peers=IP,IP...
FAULT=partition-out

fault_supported() { has_peers "$(arg peers)"; }

fault_inject() {
  # shellcheck disable=SC2046
  set -- $(beyond "$(arg peers)")
  drop_to "$@" | table_load
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
