# The kubelet's client certificate has run out: it starts, finds that, and ends, again and again. The certificate is
# signed by the cluster's CA where its key is on this machine, otherwise by one of the same name: the kubelet looks at
# the date.
FAULT=kubelet-cert-expired
CURRENT=/var/lib/kubelet/pki/kubelet-client-current.pem
CA=/etc/kubernetes/pki/ca

fault_supported() {
  has_unit kubelet && can_sign || return 1
  [ -e "$CURRENT" ] || { echo "the machine has no $CURRENT"; return 1; }
}

fault_inject() {
  save "$CURRENT"
  own=$(mktemp -d)
  if [ -e "$CA.key" ]; then
    cp "$CA.crt" "$CA.key" "$own"
  else
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 1 -subj /CN=kubernetes \
      -keyout "$own/ca.key" -out "$own/ca.crt" 2>/dev/null
  fi
  { expired "$CURRENT" "$own/ca.crt" "$own/ca.key" && sed -n '/PRIVATE KEY/,/PRIVATE KEY/p' "$CURRENT"; } >"$own/pair"
  has_expired "$own/pair"
  write "$CURRENT" <"$own/pair"
  rm -rf "$own"
  systemctl restart kubelet
}

fault_heal() {
  if is_saved "$CURRENT"; then
    restore "$CURRENT"
    systemctl reset-failed kubelet 2>/dev/null || true
    systemctl restart kubelet
  fi
}

fault_active() {
  is_saved "$CURRENT" && has_expired "$CURRENT" || return 1
  echo "the kubelet's client certificate has run out: $(openssl x509 -in "$CURRENT" -noout -enddate)"
}

fault_main "$@"
