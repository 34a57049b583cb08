# Nothing passes between this worker (its pods too) and the other workers; control planes still reach it.
# workers=IP,IP...
FAULT=workers-cut

fault_supported() { has_peers "$(arg workers)"; }

fault_inject() {
  # shellcheck disable=SC2046
  set -- $(beyond "$(arg workers)")
  { drop_from "$@" && drop_to "$@"; } | table_load
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
