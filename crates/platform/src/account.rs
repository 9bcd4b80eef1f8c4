//! Users of this machine.

use nix::unistd::{Uid, User, getegid, geteuid};

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name; the number where it has none.
    pub name: String,
    pub uid: u32,
    /// Of its first group.
    pub gid: u32,
}

impl Account {
    /// Who runs this process.
    pub fn own() -> Self {
        let uid = geteuid();
        match User::from_uid(uid) {
            Ok(Some(user)) => Self::of(user),
            _ => Self { name: uid.to_string(), uid: uid.as_raw(), gid: getegid().as_raw() },
        }
    }

    /// The user of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        User::from_name(name).ok().flatten().map(Self::of)
    }

    /// Whether it may do everything.
    pub fn is_root(&self) -> bool {
        Uid::from_raw(self.uid).is_root()
    }

    fn of(user: User) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }
}
