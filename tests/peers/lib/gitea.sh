# Gitea with SQLite, as a user of its own, and what only it has: users, tokens and scopes. Sourced by tests/peers/run.

# In the place of the shell, so that its number is the server's.
exec_gitea() {
  exec setpriv --reuid "$PODMAN_TEST_USER" --regid "$PODMAN_TEST_USER" --init-groups env -u SSL_CERT_FILE HOME="$GITEA" USER="$PODMAN_TEST_USER" GITEA_WORK_DIR="$GITEA" \
    "$GITEA/gitea" --config "$GITEA/app.ini" "$@"
}

gitea() { (exec_gitea "$@"); }

# A token: USER SCOPES.
gitea_token() {
  gitea admin user generate-access-token --username "$1" --token-name "$2-$RANDOM" --scopes "$2" --raw
}

start_gitea() {
  GITEA=$(mktemp -d /tmp/pixi-oci-gitea.XXXXXX)
  cp "$BIN/gitea" "$GITEA/"
  cp -r "$PEERS/gitea" "$GITEA/static"
  local port
  port=$(free_port)
  ADDRESS=127.0.0.1:$port
  cat >"$GITEA/app.ini" <<INI
RUN_USER = $PODMAN_TEST_USER
RUN_MODE = prod
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = $port
ROOT_URL = http://$ADDRESS/
STATIC_ROOT_PATH = $GITEA/static
OFFLINE_MODE = true
DISABLE_SSH = true
LFS_START_SERVER = false
[database]
DB_TYPE = sqlite3
PATH = $GITEA/gitea.db
[security]
INSTALL_LOCK = true
SECRET_KEY = test
[log]
LEVEL = Info
MODE = console
[service]
DISABLE_REGISTRATION = true
[actions]
ENABLED = false
[indexer]
ISSUE_INDEXER_TYPE = db
INI
  chmod 755 "$GITEA"
  chown -R "$PODMAN_TEST_USER" "$GITEA"
  gitea migrate >"$DIR/registry.log" 2>&1
  gitea admin user create --admin --username admin --password canary-password --email admin@localhost.invalid --must-change-password=false >>"$DIR/registry.log"
  gitea admin user create --username other --password canary-password --email other@localhost.invalid --must-change-password=false >>"$DIR/registry.log"
  (exec_gitea web) >>"$DIR/registry.log" 2>&1 &
  REGISTRY_PIDS+=($!)
  for _ in $(seq 600); do
    ! curl -sf -o /dev/null "http://$ADDRESS/api/healthz" || break
    kill -0 $! || { cat "$DIR/registry.log" >&2; return 1; }
    sleep 0.1
  done
  add_login admin "$(gitea_token admin write:package,write:repository,write:admin)"
  VERSION_OF=$(pinned gitea code.gitea.io/gitea)
  LOGIN=token STOCK=own DELETES=yes OWNER=admin
}

remove_gitea() {
  rm -rf "$GITEA"
}

GITEA_ROWS="read_scope other_owner no_owner source page cleanup"

# Publishes with a token of USER SCOPES to OWNER/REPOSITORY, which must be refused as BLOCKER, before a layer is made.
gitea_refuses() {
  local token status=0
  token=$(gitea_token "$1" "$2")
  VERSION=1.0.0 REGISTRY_USER=$1 REGISTRY_TOKEN=$token "$PIXI_OCI" publish "$WS" --frozen --publish --base "$BASE" --arch amd64 \
    --cache-dir "$DIR/empty" --to "docker://$ADDRESS/$3" >"$DIR/refused" 2>&1 || status=$?
  [ $status = 1 ] && grep -qF "BLOCKER($4)" "$DIR/refused" || fail "$status: $(cat "$DIR/refused")"
  ! grep -q '^making' "$DIR/refused" || fail "layers were made: $(cat "$DIR/refused")"
  rm -rf "$DIR/empty"
}

row_read_scope() {
  gitea_refuses admin read:package admin/refused auth-denied
  echo "refused before a layer was made"
}

row_other_owner() {
  gitea_refuses other write:package admin/refused auth-denied
  echo "refused before a layer was made"
}

row_no_owner() {
  gitea_refuses admin write:package nobody-of-this-name/refused no-repository
  echo "refused before a layer was made"
}

gitea_api() { curl -sS --fail-with-body -u admin:canary-password -H 'Content-Type: application/json' "$@"; }

# The source is shown of each image; linking the package to the repository is its owner's, and stays with the next version.
row_source() {
  local linked
  gitea_api -d '{"name": "linked"}' "http://$ADDRESS/api/v1/user/repos" >/dev/null
  publish 1.0.0 linked linked --set "source=\"http://$ADDRESS/admin/linked\""
  gitea_api "http://$ADDRESS/admin/-/packages/container/linked/1.0.0-amd64" >"$DIR/linked.html"
  grep -qF "http://$ADDRESS/admin/linked\"" "$DIR/linked.html" || fail "the page has no source"
  gitea_api -X POST "http://$ADDRESS/api/v1/packages/admin/container/linked/-/link/linked"
  publish 1.0.1 linked linked --set "source=\"http://$ADDRESS/admin/linked\""
  linked=$(gitea_api "http://$ADDRESS/api/v1/packages/admin/container/linked/1.0.1" | python3 -c 'import json, sys; print((json.load(sys.stdin)["repository"] or {}).get("full_name"))')
  is "$linked" admin/linked "the repository of the package"
  echo "shown, and linked"
}

row_page() {
  gitea_api "http://$ADDRESS/admin/-/packages/container/app/1.0.0" >"$DIR/page.html"
  for platform in linux/amd64 linux/arm64; do
    grep -qF $platform "$DIR/page.html" || fail "the page has no $platform"
  done
  echo "both architectures listed"
}

# What docs/publishing.md advises to keep stays with all that is below it, though the rule removes everything else.
row_cleanup() {
  publish 7.0.0 cleanup cleanup
  "$BIN/crane" tag "$(name cleanup):7.0.0" removable
  python3 - "$GITEA/gitea.db" <<'PY'
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30)
[owner] = database.execute("select id from user where lower_name = 'admin'").fetchone()
keep = r".*-(amd64|arm64)|\d+\.\d+\.\d+|latest|sha256:.*"
database.execute("insert into package_cleanup_rule (enabled, owner_id, type, keep_count, keep_pattern, remove_days, remove_pattern,"
                 " match_full_name, created_unix, updated_unix) values (1, ?, 'container', 0, ?, 0, '.*', 0, 1, 1)", [owner, keep])
database.execute("update package_version set created_unix = created_unix - 864000")
database.commit()
PY
  gitea_api -X POST "http://$ADDRESS/api/v1/admin/cron/cleanup_packages"
  for _ in $(seq 100); do
    tags_of cleanup | grep -qx removable || break
    sleep 0.2
  done
  is "$(tags_of cleanup | tr '\n' ' ')" "7.0.0 7.0.0-amd64 7.0.0-arm64 latest " "tags after the cleanup"
  "$BIN/crane" validate --remote "$(name cleanup):7.0.0" >&2
  echo "1 removed, 4 tags whole"
}
