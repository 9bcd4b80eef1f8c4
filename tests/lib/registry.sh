# docker-registry for scenarios: on a free port of this machine, gone with the script. Sourced; needs bash.
#
#   registry_start DIR [login]       starts one that stores in DIR; REGISTRY is then its HOST:PORT. With `login` it lets
#                                    in only robot with the password canary-password
#   registry_tags REPOSITORY         its tags, sorted, one a line
#   registry_digest REPOSITORY TAG   what a tag names

REGISTRY=
REGISTRY_PID=

registry_start() {
  local directory=$1 access=
  mkdir -p "$directory"
  if [ "${2:-}" = login ]; then
    printf 'robot:%s\n' '$2b$05$abcdefghijklmnopqrstuuTvmw3qcMpAvEgQGhbFMhqjD3R/evDDW' >"$directory/passwords"
    access="auth: {htpasswd: {realm: test, path: $directory/passwords}}"
  fi
  cat >"$directory/registry.yml" <<YAML
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $directory/storage}}
http: {addr: "127.0.0.1:0", secret: test}
$access
YAML
  docker-registry serve "$directory/registry.yml" >"$directory/log" 2>&1 &
  REGISTRY_PID=$!
  # The line is written when the port is bound.
  local line
  while kill -0 "$REGISTRY_PID" 2>/dev/null; do
    line=$(grep -o 'listening on 127[0-9.:]*' "$directory/log" 2>/dev/null || true)
    if [ -n "$line" ]; then
      REGISTRY=${line#listening on }
      return
    fi
    sleep 0.05
  done
  cat "$directory/log" >&2
  return 1
}

registry_stop() {
  [ -z "$REGISTRY_PID" ] || kill "$REGISTRY_PID" 2>/dev/null || true
}

registry_tags() {
  python3 -c 'import json, sys, urllib.request as r
print(*sorted(json.load(r.urlopen(sys.argv[1]))["tags"] or []), sep="\n")' "http://$REGISTRY/v2/$1/tags/list"
}

registry_digest() {
  python3 -c 'import sys, urllib.request as r
request = r.Request(sys.argv[1], method="HEAD", headers={"Accept": "application/vnd.oci.image.index.v1+json"})
print(r.urlopen(request).headers["Docker-Content-Digest"])' "http://$REGISTRY/v2/$1/manifests/$2"
}
