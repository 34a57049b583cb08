#!/usr/bin/env bash
# What an expert would type for the same lab, from the same node image and the same images: the measure of `labctl up`.
#   bench/bare.sh up WORKERS FOLDER IMAGE    FOLDER is made; IMAGE is the key of a node image (labctl bakes it)
#   bench/bare.sh down FOLDER
# It repairs nothing, checks nothing, and is taken up again by nobody: an honest minimum.
set -euo pipefail

subnet=10.213.77
name=bare
image=
folder=

machine() { # NAME NUMBER
  local var=$folder/$1 legacy=() golden=${XDG_CACHE_HOME:-$HOME/.cache}/labctl/nodes/$image/var
  cp -al "$golden" "$var"
  # Databases are written in place: they must not be shared.
  find "$var" -name '*.db' -type f -exec sh -c 'cp -p "$1" "$1.own" && mv "$1.own" "$1"' _ {} \;
  if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    legacy=(--systemd=false --runtime runc --env "SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
  else
    legacy=(--systemd=always)
  fi
  podman run --detach --name "$1" --hostname "$1" --label labctl.bench=bare --privileged --cgroupns=private --tmpfs /run --tmpfs /tmp \
    --pids-limit=-1 --ulimit nofile="$(ulimit -Hn):$(ulimit -Hn)" --ulimit nproc=32768:32768 \
    --volume "$var:/var:exec,suid,dev" --network "$name" --ip "$subnet.$2" "${legacy[@]}" \
    "localhost/labctl/node:$image" >/dev/null
}

network() { # NAME NUMBER: routes to all others' pods
  {
    cat <<JSON
{"cniVersion": "1.0.0", "name": "bare", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.$2.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}}]}
JSON
  } | podman exec -i "$1" sh -c 'mkdir -p /etc/cni/net.d; cat > /etc/cni/net.d/10-bare.conflist'
  local script="nft 'table ip bare { chain postrouting { type nat hook postrouting priority srcnat; ip saddr 10.244.$2.0/24 ip daddr != 10.244.0.0/16 masquerade; }; }'" peer
  for peer in "${numbers[@]}"; do
    [ "$peer" = "$2" ] || script+="; ip route replace 10.244.$peer.0/24 via $subnet.$peer"
  done
  podman exec "$1" sh -c "$script"
}

running() { # NAME: a wait for a machine that died would never end
  [ "$(podman inspect --format '{{.State.Running}}' "$1")" = true ]
}

ignore="SystemVerification,Swap"
up() {
  local workers=$1 number
  numbers=(10)
  for number in $(seq 1 "$workers"); do numbers+=($((20 + number))); done
  mkdir -p "$folder"
  podman network create --subnet "$subnet.0/24" --disable-dns "$name" >/dev/null
  for number in "${numbers[@]}"; do machine "$name-$number" "$number" & done
  wait
  for number in "${numbers[@]}"; do
    until podman exec "$name-$number" systemctl is-active --quiet containerd 2>/dev/null; do running "$name-$number"; sleep 0.1; done
    podman exec "$name-$number" sh -c ': > /etc/default/kubelet'
  done
  podman exec -i "$name-10" sh -c 'cat > /root/kubeadm.yml' <<YAML
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $subnet.10}
nodeRegistration:
  criSocket: unix:///run/containerd/containerd.sock
  kubeletExtraArgs: [{name: node-ip, value: $subnet.10}]
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $(podman exec "$name-10" kubeadm version -o short)
controlPlaneEndpoint: $subnet.10:6443
encryptionAlgorithm: ECDSA-P256
networking: {podSubnet: 10.244.0.0/16}
etcd: {local: {imageTag: $(podman exec "$name-10" ctr -n k8s.io images ls -q | sed -n 's#.*/etcd:##p')}}
controllerManager: {extraArgs: [{name: allocate-node-cidrs, value: "false"}]}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failSwapOn: false
failCgroupV1: false
imageGCHighThresholdPercent: 100
evictionHard: {imagefs.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
conntrack: {maxPerCore: 0}
YAML
  podman exec "$name-10" kubeadm init --config /root/kubeadm.yml --ignore-preflight-errors "$ignore" >/dev/null 2>&1
  local join
  join=$(podman exec "$name-10" kubeadm token create --print-join-command 2>/dev/null)
  for number in "${numbers[@]}"; do
    {
      network "$name-$number" "$number"
      # shellcheck disable=SC2086
      [ "$number" = 10 ] || podman exec "$name-$number" $join --ignore-preflight-errors "$ignore" >/dev/null 2>&1
    } &
  done
  wait
  kubectl() { podman exec -i "$name-10" kubectl --kubeconfig /etc/kubernetes/admin.conf "$@" >/dev/null; }
  kubectl wait --for=condition=Ready node --all --timeout=120s
  kubectl -n kube-system rollout status deployment/coredns --timeout=120s
  kubectl apply -f - < "$(dirname "$0")/../roles/hello_world/files/helloworld-pod.yml"
  kubectl apply -f - < "$(dirname "$0")/../roles/hello_world/files/hello-deployment.yml"
  kubectl wait --for=condition=Ready pod/hello-world --timeout=120s
  kubectl rollout status deployment/hello --timeout=120s
  timeout 60 sh -c "until curl -sf --max-time 2 http://$subnet.10:30080/ | grep -q Hello; do sleep 0.1; done"
}

down() {
  podman ps -aq --filter label=labctl.bench=bare | xargs -r podman rm --force --time 0 >/dev/null
  podman network rm --force "$name" >/dev/null 2>&1 || true
  rm -rf "$folder"
}

case ${1:-} in
up) folder=$3 image=$4 && up "$2" ;;
down) folder=$2 && down ;;
*) sed -n '2,5p' "$0" >&2 && exit 2 ;;
esac
