# Pods of this machine get no answer from the cluster's DNS: what goes to its address, port 53, is dropped.
FAULT=dns-lost
CONFIG=/var/lib/kubelet/config.yaml

# The address that the kubelet writes into pods. Only pods of this machine send to it: kube-proxy puts a server's in its
# place before a packet leaves.
dns() { awk '/^[^ -]/ { here = $1 == "clusterDNS:" } here && /^ *- / { print $2 }' "$CONFIG"; }

fault_supported() {
  has_nft || return 1
  [ -n "$(dns)" ] || { echo "the kubelet's $CONFIG names no clusterDNS"; return 1; }
}

fault_inject() {
  # shellcheck disable=SC2046
  set -- $(dns)
  for hook in prerouting output; do
    echo "chain $hook { type filter hook $hook priority raw;"
    rules daddr 'meta l4proto { tcp, udp } th dport 53 counter drop' "$@"
    echo '}'
  done | table_load
}

fault_heal() { table_delete; }

fault_active() { table_is_there; }

fault_main "$@"
