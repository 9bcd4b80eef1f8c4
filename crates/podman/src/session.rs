//! podman with a storage of its own.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use pixi_oci_platform::{find_program, stripped};

use crate::{
    Account, Error, HARDENING, Info, Podman, Requirement,
    container::Limits,
    janitor::Janitor,
    sweep::{self, SHORT_SCRATCH},
};

/// podman with a storage of its own, which goes away with the session: when it is dropped, or this process ends in
/// whatever way.
#[derive(Debug)]
pub struct Session {
    pub podman: Podman,
    /// For what containers need; it goes away with the session.
    pub directory: PathBuf,
    account: Option<Account>,
    pub info: Info,
    /// The runtime that works here, with its version.
    pub runtime: String,
    /// The directories of sessions that were not cleaned up in their time, and now are.
    pub swept: Vec<PathBuf>,
    // The last fields: what it removes is not needed any more, and nobody else may remove it before.
    _janitor: Janitor,
    _lock: File,
}

/// The runtimes there are, the usual one first.
const RUNTIMES: [&str; 2] = ["crun", "runc"];
/// How long the path of podman's run root may be.
const MAX_RUNROOT: usize = 50;
/// What an ordinary user's PATH may lack.
const MORE_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

impl Session {
    /// Makes the storage, and finds out whether containers can run. `scratch` is on a local disk, because images are large and overlays
    /// do not work on all file systems; programs are found as in `PATH`; `user` is the user that root becomes for it.
    pub fn open(scratch: &Path, path: &OsStr, user: Option<&str>) -> Result<Self, Error> {
        let own = Account::own();
        let account = match user {
            Some(name) if own.is_root() => {
                Some(Account::named(name).ok_or_else(|| Error::NoAccount { name: name.to_owned() })?)
            }
            Some(name) if name == own.name => None,
            Some(name) => return Err(Error::NotRoot { name: name.to_owned() }),
            None => None,
        };
        let who = account.as_ref().unwrap_or(&own);
        let unusable = |requirement, said: &str| Error::Unusable {
            user: who.name.clone(),
            requirement,
            said: said.trim().to_owned(),
        };
        let mut path: OsString = path.to_owned();
        if !pixi_oci_platform::IS_LINUX {
            return Err(unusable(Requirement::Linux, ""));
        }
        let program = find_program("podman", &path).ok_or_else(|| unusable(Requirement::Podman, ""))?;
        path.push(":");
        path.push(MORE_PATH);
        if !who.is_root() {
            for helper in ["newuidmap", "newgidmap"] {
                find_program(helper, &path).ok_or_else(|| unusable(Requirement::UidMap { program: helper }, ""))?;
            }
        }
        let directory = make_directory(scratch, account.as_ref())?;
        let mut podman = Podman::new(program);
        podman.account = account.clone();
        podman.environment = Some(environment(&directory, path.clone()));
        let runroot = runroot(&directory, account.as_ref())?;
        podman.arguments = arguments(&directory, &runroot);
        let janitor = Janitor::start(&directory, Some((&podman, &runroot)))?;
        let lock = sweep::hold(&directory).map_err(Error::io(format!("write to {}", directory.display())))?;
        podman.group = janitor.group();
        let info = match podman.output(&["info", "--format", "json"]) {
            Ok(text) => Info::read(&text).ok_or_else(|| unusable(Requirement::Podman, &last_line(&text)))?,
            Err(Error::Failed { said, .. }) => return Err(unusable(Requirement::of(&said, &who.name), &said)),
            Err(error) => return Err(error),
        };
        // Containers run as a user far from 0.
        if info.users < 65536 {
            return Err(unusable(Requirement::SubordinateIds { user: who.name.clone() }, ""));
        }
        let runtime = match choose_runtime(&mut podman, &directory, &path) {
            Ok(runtime) => runtime,
            Err(said) if said.is_empty() => return Err(unusable(Requirement::Runtime, "")),
            Err(said) => return Err(unusable(Requirement::of(&said, &who.name), &said)),
        };
        let swept = sweep::abandoned(scratch, who.uid);
        swept.iter().for_each(|old| sweep::remove(old, &podman));
        Ok(Self { podman, directory, account, info, runtime, swept, _janitor: janitor, _lock: lock })
    }

    /// Makes a directory below the session's, if it is not there, that belongs to the one who runs podman.
    pub fn make_directory(&self, below: &Path) -> Result<PathBuf, Error> {
        let mut path = self.directory.clone();
        for part in below.components() {
            path.push(part);
            let make = || -> std::io::Result<()> {
                if path.is_dir() {
                    return Ok(());
                }
                std::fs::create_dir(&path)?;
                // Whatever the umask says: nobody but that user can enter the directory around it.
                std::fs::set_permissions(&path, Permissions::from_mode(0o755))?;
                // Only who owns a directory can remove what is in it.
                self.account.as_ref().map_or(Ok(()), |account| chown(&path, Some(account.uid), Some(account.gid)))
            };
            make().map_err(Error::io(format!("make {}", path.display())))?;
        }
        Ok(path)
    }

    /// Makes a directory that everybody in a container may write to, if it is given to one.
    pub fn make_work(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.make_directory(&Path::new("work").join(name))?;
        let open = std::fs::set_permissions(&path, Permissions::from_mode(0o1777));
        open.map_err(Error::io(format!("open {}", path.display())))?;
        Ok(path)
    }

    /// Whether podman runs as another user than this process, who cannot read all that this one can.
    pub fn is_other_user(&self) -> bool {
        self.account.is_some()
    }
}

/// A directory that only the one who runs podman can enter.
fn make_directory(scratch: &Path, account: Option<&Account>) -> Result<PathBuf, Error> {
    let failed = |path: &Path| Error::io(format!("make a directory in {}", path.display()));
    let made = tempfile::Builder::new().prefix(sweep::PREFIX).tempdir_in(scratch).map_err(failed(scratch))?;
    for part in ["home", "run", "tmp", "probe", "work"] {
        std::fs::create_dir(made.path().join(part)).map_err(failed(made.path()))?;
    }
    let set_mode = |part: &str, mode| {
        std::fs::set_permissions(made.path().join(part), Permissions::from_mode(mode)).map_err(failed(scratch))
    };
    set_mode("", 0o700)?;
    set_mode("run", 0o700)?;
    if let Some(account) = account {
        for part in ["", "home", "run", "tmp", "probe", "work"] {
            chown(made.path().join(part), Some(account.uid), Some(account.gid)).map_err(failed(scratch))?;
        }
        check_way(made.path())?;
    }
    Ok(made.keep())
}

/// Another user must be able to go where the directory is.
fn check_way(directory: &Path) -> Result<(), Error> {
    for above in directory.ancestors().skip(1) {
        let open = above.metadata().is_ok_and(|meta| meta.mode() & 0o001 != 0);
        if !open && !above.as_os_str().is_empty() {
            let reason = format!("{} is closed to other users; choose another place with TMPDIR", above.display());
            return Err(Error::io(format!("let another user into {}", directory.display()))(std::io::Error::other(
                reason,
            )));
        }
    }
    Ok(())
}

/// The user's own settings have no say: a proof must not depend on them.
fn environment(directory: &Path, path: OsString) -> Vec<(&'static str, OsString)> {
    vec![
        ("PATH", path),
        ("HOME", directory.join("home").into()),
        ("XDG_RUNTIME_DIR", directory.join("run").into()),
        ("TMPDIR", directory.join("tmp").into()),
        ("LC_ALL", "C".into()),
    ]
}

/// podman's small files of what runs. It refuses a path of more than 50 characters (containers/storage,
/// `maxRunrootLength`), and temporary directories of batch systems are long.
fn runroot(directory: &Path, account: Option<&Account>) -> Result<PathBuf, Error> {
    let usual = directory.join("runroot");
    if usual.as_os_str().len() <= MAX_RUNROOT {
        return Ok(usual);
    }
    let failed = || Error::io(format!("make a directory in {SHORT_SCRATCH}"));
    let made = tempfile::Builder::new().prefix(sweep::RUNROOT).tempdir_in(SHORT_SCRATCH).map_err(failed())?;
    std::fs::set_permissions(made.path(), Permissions::from_mode(0o700)).map_err(failed())?;
    if let Some(account) = account {
        chown(made.path(), Some(account.uid), Some(account.gid)).map_err(failed())?;
    }
    // So that whoever cleans up later finds it.
    std::os::unix::fs::symlink(made.path(), &usual).map_err(failed())?;
    Ok(made.keep())
}

fn arguments(directory: &Path, runroot: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--runroot".into(), runroot.into()];
    for (option, part) in [("--root", "storage"), ("--tmpdir", "tmp")] {
        arguments.extend([option.into(), directory.join(part).into()]);
    }
    // cgroupfs: without the user's session there is no systemd to ask.
    let fixed = [
        "--storage-driver",
        "overlay",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "file",
        "--log-level",
        "error",
    ];
    arguments.extend(fixed.map(OsString::from));
    arguments
}

/// Makes podman use the first runtime that works, and gives its name and version; or what the last one said.
///
/// Each is asked to run a program that is not there: one that works says just that, with podman's exit status 127.
fn choose_runtime(podman: &mut Podman, directory: &Path, path: &OsStr) -> Result<String, String> {
    let mut said = Vec::new();
    for name in RUNTIMES {
        let Some(program) = find_program(name, path) else { continue };
        let mut with = podman.clone();
        with.arguments.extend(["--runtime".into(), program.clone().into_os_string()]);
        let mut command = with.command();
        command.args(["run", "--rm"]).args(HARDENING).args(Limits::of_this_process().arguments()).arg("--rootfs");
        let output = command.arg(directory.join("probe")).arg("/no-such-program").output();
        match output {
            Ok(output) if output.status.code() == Some(127) => {
                let version = std::process::Command::new(&program).arg("--version").output();
                let version = version.map(|output| stripped(&output.stdout)).unwrap_or_default();
                *podman = with;
                return Ok(version.lines().next().filter(|line| !line.is_empty()).unwrap_or(name).to_owned());
            }
            Ok(output) => said.push(format!("{name}: {}", last_line(&stripped(&output.stderr)))),
            Err(error) => said.push(format!("{name}: {error}")),
        }
    }
    Err(said.join("; "))
}

fn last_line(text: &str) -> String {
    text.trim().lines().last().unwrap_or_default().to_owned()
}
