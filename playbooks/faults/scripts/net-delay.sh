# What this machine sends is delayed, whoever it is for. delay_ms=200, jitter_ms=0
FAULT=net-delay

fault_supported() { has_netem; }

fault_inject() {
  tc qdisc replace dev "$(uplink)" root handle "$(handle)" netem delay "$(arg delay_ms 200)ms" "$(arg jitter_ms 0)ms"
}

fault_heal() { netem_delete; }

fault_active() { netem_is_there; }

fault_main "$@"
