# Some of what this machine sends is lost, whoever it is for. percent=20, at most 50: SSH must get through.
FAULT=net-loss

fault_supported() {
  [ "$(arg percent 20)" -le 50 ] || { echo "percent= is at most 50: SSH must get through"; return 1; }
  has_netem
}

fault_inject() { tc qdisc replace dev "$(uplink)" root handle "$(handle)" netem loss "$(arg percent 20)%"; }

fault_heal() { netem_delete; }

fault_active() { netem_is_there; }

fault_main "$@"
