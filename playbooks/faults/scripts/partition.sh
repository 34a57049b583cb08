# Nothing passes between this machine (its pods too) and the others, in either direction. peers=IP,IP...
FAULT=partition

fault_supported() { has_peers "$(arg peers)"; }

fault_inject() {
  # shellcheck disable=SC2046
  set -- $(beyond "$(arg peers)")
  { drop_from "$@" && drop_to "$@"; } | table_load
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
