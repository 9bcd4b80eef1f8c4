# Registries that nobody here wrote. Sourced by tests/peers/run; needs bash.
#
#   start_NAME      starts one; ADDRESS is then its HOST:PORT, OWNER the first part of its repositories, VERSION_OF and
#                   LOGIN what it is and whom it lets in, CA its authority, STOCK whether its repositories have one stock of blobs (`shared`), DELETES
#                   whether tags can be deleted
#   stop_registry   ends what was started
#
# Logins are in $DIR/auth.json, which all clients read.

REGISTRY_PIDS=()
CERTIFICATES=${SSL_CERT_FILE:-}

# Waits until the file has a line with the port, and prints the address: ADDRESS_FROM FILE PID.
address_from() {
  local line
  for _ in $(seq 600); do
    line=$(grep -oE 'listening on (127\.0\.0\.1|\[::\]):[0-9]+' "$1" 2>/dev/null | head -1 || true)
    [ -z "$line" ] || { printf '%s\n' "${line#listening on }"; return; }
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  cat "$1" >&2
  return 1
}

free_port() {
  python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# The configuration of both versions of distribution: settings FURTHER.
distribution_config() {
  cat >"$DIR/registry.yml" <<YAML
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $DIR/storage}, delete: {enabled: true}}
http: {addr: "127.0.0.1:0", secret: test${1:-}}
${2:-}
YAML
}

start_docker2() {
  distribution_config
  docker-registry serve "$DIR/registry.yml" >"$DIR/registry.log" 2>&1 &
  REGISTRY_PIDS+=($!)
  ADDRESS=$(address_from "$DIR/registry.log" $!)
  VERSION_OF=$(docker-registry --version | grep -oE '[0-9]+\.[0-9.]+' | head -1)
  LOGIN=anonymous STOCK=own DELETES=yes OWNER=team
}

# With a password, behind TLS with an authority of its own.
start_distribution3() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=pixi-oci tests" \
    -keyout "$DIR/ca.key" -out "$DIR/ca.crt" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=127.0.0.1" \
    -keyout "$DIR/server.key" -out "$DIR/server.csr" 2>/dev/null
  openssl x509 -req -in "$DIR/server.csr" -CA "$DIR/ca.crt" -CAkey "$DIR/ca.key" -CAcreateserial -days 30 -out "$DIR/server.crt" \
    -extfile <(printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n') 2>/dev/null
  # canary-password
  printf 'robot:%s\n' '$2b$05$abcdefghijklmnopqrstuuTvmw3qcMpAvEgQGhbFMhqjD3R/evDDW' >"$DIR/passwords"
  distribution_config ", tls: {certificate: $DIR/server.crt, key: $DIR/server.key}" \
    "auth: {htpasswd: {realm: test, path: $DIR/passwords}}"
  OTEL_TRACES_EXPORTER=none "$BIN/registry" serve "$DIR/registry.yml" >"$DIR/registry.log" 2>&1 &
  REGISTRY_PIDS+=($!)
  ADDRESS=$(address_from "$DIR/registry.log" $!)
  CA=$DIR/ca.crt
  export SSL_CERT_FILE=$CA
  add_login robot canary-password
  VERSION_OF=$(pinned distribution github.com/distribution/distribution/v3)
  LOGIN="password, TLS" STOCK=own DELETES=yes OWNER=team
}

start_ggcr() {
  "$BIN/ggcr-registry" 127.0.0.1:0 >"$DIR/registry.log" 2>&1 &
  REGISTRY_PIDS+=($!)
  ADDRESS=$(address_from "$DIR/registry.log" $!)
  VERSION_OF=$(pinned ggcr-registry github.com/google/go-containerregistry)
  LOGIN=anonymous STOCK=shared DELETES=yes OWNER=team
}

stop_registry() {
  local pid
  for pid in "${REGISTRY_PIDS[@]}"; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  REGISTRY_PIDS=()
  # As it was for everything else.
  if [ -n "$CERTIFICATES" ]; then export SSL_CERT_FILE=$CERTIFICATES; else unset SSL_CERT_FILE; fi
}

# Which version tests/peers/NAME/go.mod has of a module.
pinned() {
  sed -n "s#^\(require\)\?[[:space:]]*$2 v\([^ ]*\).*#\2#p" "$HERE/$1/go.mod" | head -1
}

add_login() {
  mkdir -p "$DIR/docker"
  printf '{"auths": {"%s": {"auth": "%s"}}}\n' "$ADDRESS" "$(printf '%s:%s' "$1" "$2" | base64 -w0)" >"$DIR/auth.json"
  cp "$DIR/auth.json" "$DIR/docker/config.json"
  export REGISTRY_AUTH_FILE=$DIR/auth.json DOCKER_CONFIG=$DIR/docker
}
