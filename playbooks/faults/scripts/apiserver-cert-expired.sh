# The API server's serving certificate has run out: nobody trusts it. It is killed once, for connections that are open
# would go on; the right certificate is read as soon as it is back.
FAULT=apiserver-cert-expired
PKI=/etc/kubernetes/pki

fault_supported() {
  can_sign || return 1
  for file in "$PKI/apiserver.crt" "$PKI/ca.key"; do
    [ -e "$file" ] || { echo "the machine has no $file"; return 1; }
  done
}

fault_inject() {
  save "$PKI/apiserver.crt"
  expired "$PKI/apiserver.crt" "$PKI/ca.crt" "$PKI/ca.key" >"$MINE/expired.crt"
  has_expired "$MINE/expired.crt"
  chmod 0644 "$MINE/expired.crt"
  cp -p "$MINE/expired.crt" "$PKI/../.labctl-apiserver.crt"
  mv -T "$PKI/../.labctl-apiserver.crt" "$PKI/apiserver.crt"
  kill_program kube-apiserver
}

fault_heal() { restore "$PKI/apiserver.crt"; }

fault_active() {
  is_saved apiserver.crt && has_expired "$PKI/apiserver.crt" || return 1
  echo "the API server's certificate has run out: $(openssl x509 -in "$PKI/apiserver.crt" -noout -enddate)"
}

fault_main "$@"
