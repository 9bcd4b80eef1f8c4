use std::time::{Duration, SystemTime};

use crate::{LockFile, Workspace, differences};

/// All differences of every environment, on every platform; each `ENVIRONMENT: DIFFERENCE`.
fn all(workspace: &Workspace, lock: &LockFile) -> Vec<String> {
    let mut found = Vec::new();
    for environment in workspace.environments.keys() {
        let platforms = lock.all_platforms(environment);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let differences = differences(workspace, lock, environment, &platforms, now).unwrap_or_else(|e| panic!("{e}"));
        found.extend(differences.iter().map(|difference| format!("{environment}: {difference}")));
    }
    found
}

/// Prints what is wrong with every workspace under `$PIXI_OCI_REAL_LOCKS`, which has a directory for each.
#[test]
#[ignore = "needs PIXI_OCI_REAL_LOCKS, a directory of real workspaces"]
fn real_workspaces() {
    #[allow(clippy::disallowed_methods, reason = "there is no command line here")]
    let Some(directory) = std::env::var_os("PIXI_OCI_REAL_LOCKS") else { return };
    let mut stale = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let workspace = match Workspace::open(&path) {
            Ok(workspace) => workspace,
            Err(error) => {
                eprintln!("== {}: {error}", path.display());
                continue;
            }
        };
        let found = workspace.lock_file().map(|lock| all(&workspace, &lock));
        match found {
            Ok(found) if found.is_empty() => eprintln!("== {}: true", path.display()),
            Ok(found) => {
                stale += 1;
                eprintln!(
                    "== {}: {} differences\n   {}",
                    path.display(),
                    found.len(),
                    found[..found.len().min(20)].join("\n   ")
                );
            }
            Err(error) => eprintln!("== {}: {error}", path.display()),
        }
    }
    eprintln!("{stale} stale");
}
